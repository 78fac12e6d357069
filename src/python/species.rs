//! What is known of a type's instances by the type alone.

/// What an instance keeps in a raw block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Container {
    /// None that is known.
    None,
    /// `list` or a subclass.
    List,
    /// `dict` or a subclass.
    Dict,
    /// `set` or `frozenset`, or a subclass.
    Set,
    /// `type` or a subclass: its doc.
    Type,
}

/// What a type's instances are to us.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Species {
    /// Anything else.
    Other,
    /// Instances are types.
    Type,
    /// Exactly `str`.
    Str,
    /// Exactly `bytes`, `int`, `float` or `bool`: no pointers inside.
    Leaf,
    /// Exactly `list`.
    List,
    /// Exactly `tuple`.
    Tuple,
    /// Exactly `dict`.
    Dict,
    /// `set` or `frozenset`, or a subclass.
    Set,
    /// Exactly `frame`.
    Frame,
    /// Exactly `code`.
    Code,
    /// A weak reference or proxy, or a subclass.
    WeakReference,
    /// Exactly `function`.
    Function,
    /// Exactly `builtin_function_or_method`.
    Builtin,
    /// Exactly `method`.
    Method,
    /// `module` or a subclass.
    Module,
    /// A part of another object, which frees it: a link of a `functools.lru_cache` (whose `lru_cache_tp_traverse` in _functoolsmodule.c visits for
    /// it), until 3.9 a node of an `sqlite3.Cache` (`pysqlite_cache_dealloc` in cache.c). Links and nodes name each other.
    Piece,
    /// Until 3.9 an `sqlite3.Cache`, which may name its connection without owning it.
    SqliteCache,
}

impl Species {
    /// Whether destroyed instances may be kept on a free list, or with their code object (frames until 3.10): in no version those of these types
    /// are. So a block that seems to hold one does not: a stale word stands where an object has its type.
    pub fn outlives_its_end(self) -> bool {
        !matches!(
            self,
            Species::Type
                | Species::Str
                | Species::Set
                | Species::Code
                | Species::WeakReference
                | Species::Function
                | Species::Module
                | Species::Piece
        )
    }
}
