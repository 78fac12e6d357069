//! Words that point and do not own: marking skips them, otherwise everything would be reachable.
//!
//! Every tracked container hangs in the cycle collector's doubly linked list, and weak references hang in a list that starts in their
//! referent. A naive scan follows both, which is why leak finders that do not know CPython find 0 of 100 leaked lists.
//!
//! A weak word has three duties, whoever made it: marking skips it; it is emptied before its referent's memory is used for something else; and until
//! then it can be asked for the referent. The words of the interpreter's weak references are known by where they stand in an object ([`interpreter`]), and it
//! empties them itself, callbacks included, when the last reference is dropped; a collection drops that reference through `Py_DecRef` and nothing else. The words that
//! a program registers are listed in [`links`], which empties them.

pub mod interpreter;
pub mod links;
