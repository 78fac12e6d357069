//! What is asked of an object before it goes: first of all whether its reference count is right.

pub mod refcount_validator;
