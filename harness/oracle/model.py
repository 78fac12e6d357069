"""CPython's objects as bytes, written down from its headers (3.8 to 3.13, 64 bits) and from nothing of the shim's.

Two questions are answered from memory alone: which words of a block do not count, and for which of the shim's rules; and what exact lists,
tuples and dicts own.
"""

OB_TYPE, OB_SIZE = 8, 16
TP_NAME, TP_BASICSIZE, TP_ITEMSIZE, TP_FLAGS, TP_DOC, TP_WEAKLISTOFFSET, TP_BASE = 24, 32, 40, 168, 176, 208, 256
INLINE_VALUES, MANAGED_WEAKREF, MANAGED_DICT, HEAPTYPE, READY, HAVE_GC = 1 << 2, 1 << 3, 1 << 4, 1 << 9, 1 << 12, 1 << 14
LIST_SUBCLASS, DICT_SUBCLASS, TYPE_SUBCLASS = 1 << 25, 1 << 29, 1 << 31
LIST_ITEMS = 24
DICT_KEYS, DICT_VALUES = 32, 40
SET_MASK, SET_TABLE, SET_SMALL, SET_SMALL_END = 32, 40, 64, 192
STR_STATE = 32
WEAKREF_CALLBACK = 24

# Static types are told apart by name: no other static type is called so, without a module in front.
LEAVES = {"bytes", "int", "float", "bool"}
ENDING_WITH_HEADER = {"list", "dict", "code"}
WEAK_REFERENCES = {
    "weakref", "weakproxy", "weakcallableproxy",
    "weakref.ReferenceType", "weakref.ProxyType", "weakref.CallableProxyType",
}  # fmt: skip


class Type:
    """What is known of a type from its memory."""

    def __init__(self, model, address):
        word = model.memory.word
        self.address = address
        self.name = model.memory.text(word(address + TP_NAME))
        self.flags = flags = word(address + TP_FLAGS)
        self.basic, self.item = word(address + TP_BASICSIZE), word(address + TP_ITEMSIZE)
        self.weak_list = word(address + TP_WEAKLISTOFFSET)
        # Two types of functools' are used as they are compiled, until 3.9 (_functoolsmodule.c); the shim takes them for no types.
        self.ready = bool(flags & READY)
        self.heap, self.gc = bool(flags & HEAPTYPE), bool(flags & HAVE_GC)
        # No items, and no values behind the object: until 3.12 the flag means nothing.
        self.fixed = self.item == 0 and not (model.minor >= 13 and flags & INLINE_VALUES)
        self.exact = None if self.heap else self.name
        base = word(address + TP_BASE)
        self.bases = {self.exact} | (model.type_at(base).bases if base else set())


class Model:
    """The object model of one version over one memory."""

    # What is written down here of the shim's rules for words that do not count.
    RULES = {
        "refcount", "gc-head", "static-type", "weak-list", "weakref", "leaf", "str", "room", "fixed-size", "dead",
        "list-items", "dict-entries", "set-entries", "frame", "type-doc", "values", "inline-values", "linker",
        "statement-cache",
    }  # fmt: skip

    def __init__(self, memory, version, rules):
        self.memory = memory
        self.minor = int(version.split(".")[1])
        self.rules = rules
        self.types = {}

    def type_at(self, address):
        if address not in self.types:
            self.types[address] = Type(self, address)
        return self.types[address]

    def type_of(self, address):
        return self.type_at(self.memory.word(address + OB_TYPE))

    def refcount(self, address):
        """The count; None for an immortal object."""
        raw = self.memory.word(address)
        if self.minor >= 12:
            # _Py_IsImmortal: the low half is negative as an int32_t.
            return None if raw & 0x80000000 else raw
        if self.minor == 11 and 400_000_000 < raw < 4_000_000_000:
            # _PyObject_IMMORTAL_REFCNT: objects made by the compiler start from it, and are counted up and down.
            return raw - 999_999_999 if raw >= 999_999_999 else None
        return raw

    def is_alive(self, address):
        """Not on a free list, where the count is 0 or the place has a link."""
        raw = self.memory.word(address)
        return raw != 0 and raw >> (32 if self.minor >= 12 else 40) == 0

    # -- which words do not count --

    def weak_parts(self, block, end, address, dead):
        """(start, end, rule) of each part of an object's block that does not count, in order."""
        kind = self.type_of(address)
        yield from self.before(block, address, kind)
        yield address, address + 8, "refcount"
        if not kind.heap:
            yield address + 8, address + 16, "static-type"
        if dead:
            yield address + 16, end, "dead"
            return
        yield from self.body(address, end, kind)

    def before(self, block, address, kind):
        if address - block == 32 and self.minor >= 12:
            # weak reference list, dict or values, GC head.
            yield block, block + 8, "weak-list"
        if kind.gc and address - block >= 16:
            yield address - 16, address, "gc-head"

    def body(self, address, end, kind):
        body = address + 16
        if kind.exact in LEAVES:
            yield body, end, "leaf"
        elif kind.exact == "str":
            start, stop = self.str_pointers(address)
            yield body, address + start, "str"
            yield address + stop, end, "str"
        elif kind.bases & WEAK_REFERENCES:
            yield body, address + WEAKREF_CALLBACK, "weakref"
            yield address + 40, address + 56, "weakref"
            yield from self.tail(address, end, kind)
        elif kind.bases & {"set", "frozenset"} and "set-entries" in self.rules:
            yield from self.set_body(address, end, kind)
        elif kind.exact == "sqlite3.Cache":
            # Until 3.9 (Modules/_sqlite/cache.h): factory at 32, owned unless decref_factory at 56 is 0.
            if self.memory.word(address + 56) & 0xFFFFFFFF == 0:
                yield address + 32, address + 40, "statement-cache"
            yield from self.tail(address, end, kind)
        elif kind.exact == "frame" and self.minor <= 10 and "frame" in self.rules:
            yield from self.frame_body(address, end)
        else:
            if 0 < kind.weak_list < 1 << 24:
                yield address + kind.weak_list, address + kind.weak_list + 8, "weak-list"
            if self.minor >= 13 and kind.flags & INLINE_VALUES:
                yield from self.behind_inline_values(address + (kind.basic + 7 & ~7), end)
            yield from self.tail(address, end, kind)

    def behind_inline_values(self, values, end):
        """struct _dictvalues: bytes capacity, size, embedded, valid, and padding; then the values."""
        if values + 8 <= end:
            header = self.memory.word(values)
            capacity, valid = header & 0xFF, header >> 24 & 0xFF
            yield values, values + 8 if valid else end, "inline-values"
            if valid:
                yield values + 8 + 8 * capacity, end, "inline-values"

    def tail(self, address, end, kind):
        if kind.exact in ENDING_WITH_HEADER:
            yield address + kind.basic, end, "room"
        elif kind.exact == "tuple":
            yield address + 24 + 8 * self.memory.word(address + OB_SIZE), end, "room"
        elif kind.fixed:
            yield address + (kind.basic + 7 & ~7), end, "fixed-size"

    def str_pointers(self, address):
        """Where a str can have pointers: copies of its text, or the text itself if it is not behind the header."""
        state = self.memory.word(address + STR_STATE)
        compact, ascii_only = state >> 5 & 1, state >> 6 & 1
        # sizeof PyASCIIObject, PyCompactUnicodeObject, PyUnicodeObject; until 3.11 the first has a wchar_t copy.
        sizes = (48, 72, 80) if self.minor <= 11 else (40, 56, 64)
        return 40, sizes[0 if compact and ascii_only else 1 if compact else 2]

    def set_body(self, address, end, kind):
        yield address + 16, address + SET_TABLE, "set-entries"
        yield address + SET_TABLE + 8, address + SET_SMALL, "set-entries"
        if self.memory.word(address + SET_TABLE) == address + SET_SMALL:
            for entry in range(address + SET_SMALL, address + SET_SMALL_END, 16):
                yield entry + 8, entry + 16, "set-entries"
        else:
            yield address + SET_SMALL, address + SET_SMALL_END, "set-entries"
        if 0 < kind.weak_list < 1 << 24:
            yield address + kind.weak_list, address + kind.weak_list + 8, "weak-list"
        yield from self.tail(address, end, kind)

    def frame_body(self, address, end):
        """frameobject.h: f_valuestack 64; f_stacktop 72 and f_gen 96, in 3.10 f_stackdepth 80 (32 bits) and f_gen 88."""
        word = self.memory.word
        stack = word(address + 64)
        if self.minor <= 9:
            generator, top = 96, word(address + 72)
        else:
            depth = word(address + 80) & 0xFFFFFFFF
            generator, top = 88, 0 if depth >> 31 else stack + 8 * depth
        yield address + generator, address + generator + 8, "frame"
        # A running frame has its top in a register.
        if address <= stack <= end and stack <= top <= end:
            yield top, end, "frame"

    def tables(self, address):
        """The raw blocks in which a container keeps its references: for each its start, the (start, end) of what does not count there, and the
        rule. An end of None is the block's."""
        kind, word = self.type_of(address), self.memory.word
        if kind.flags & LIST_SUBCLASS:
            items = word(address + LIST_ITEMS)
            yield items, [(items + 8 * word(address + OB_SIZE), None)], "list-items"
        if kind.flags & DICT_SUBCLASS:
            keys, values = word(address + DICT_KEYS), word(address + DICT_VALUES)
            yield keys, self.weak_in_keys(keys), "dict-entries"
            if values and self.minor <= 10:
                yield values, [(values + 8 * self.keys(keys)[2], None)], "values"
            elif values and self.minor <= 12:
                yield from self.values(values)
        if kind.bases & {"set", "frozenset"}:
            table, entries = word(address + SET_TABLE), word(address + SET_MASK) + 1
            parts = [(entry + 8, entry + 16) for entry in range(table, table + 16 * entries, 16)]
            yield table, parts + [(table + 16 * entries, None)], "set-entries"
        if kind.flags & TYPE_SUBCLASS:
            doc = word(address + TP_DOC)
            yield doc, [(doc, None)], "type-doc"
        if kind.flags & MANAGED_DICT and self.minor == 11 and word(address - 32):
            yield from self.values(word(address - 32))
        if kind.flags & MANAGED_DICT and self.minor == 12 and word(address - 24) & 1:
            yield from self.values(word(address - 24) + 1)

    def values(self, values):
        """3.11 and 3.12, pycore_dict.h: before the values stand, backwards, the bytes before them, how many are set, and which, in order. The block
        begins where the bytes before them do."""
        before = [self.memory.word(at & ~7) >> 8 * (at & 7) & 0xFF for at in range(values - 1, values - 257, -1)]
        size, count = before[:2]
        last = max((index + 1 for index in before[2 : 2 + count]), default=0)
        yield values - size, [(values + 8 * last, None)], "values"

    def linker_records(self, start, end):
        """The blocks of a struct dlfo_mappings_segment (glibc, elf/dl-find_object.c): itself, and the link_map of each library. None if the block is
        none: previous, the block itself, size, allocated; entries of start, end, link_map, unwind table."""
        word = self.memory.word
        if end - start < 64 or word(start + 8) != start:
            return []
        size, allocated = word(start + 16), word(start + 24)
        if not 0 < size <= allocated or not start + 32 + 32 * allocated <= end:
            return []
        return [start] + [word(start + 32 + 32 * entry + 16) for entry in range(size)]

    def keys(self, keys):
        """Of a PyDictKeysObject: where its entries begin, words to an entry, how many are in use."""
        word = self.memory.word
        if self.minor <= 10:
            # dk_refcnt, dk_size, dk_lookup, dk_usable, dk_nentries, indices, entries of hash, key, value.
            size = word(keys + 8)
            index = 1 if size <= 0xFF else 2 if size <= 0xFFFF else 4 if size <= 0xFFFFFFFF else 8
            return keys + 40 + size * index, 3, word(keys + 32)
        # dk_refcnt, (dk_log2_size, dk_log2_index_bytes, dk_kind, dk_version), dk_usable, dk_nentries, indices, entries of key, value with a
        # hash in front in general tables (kind 0).
        packed = word(keys + 8)
        return keys + 32 + (1 << (packed >> 8 & 0xFF)), 2 if packed >> 16 & 0xFF else 3, word(keys + 24)

    def weak_in_keys(self, keys):
        start, width, entries = self.keys(keys)
        parts = [(keys, start)]
        if width == 3:
            parts += [(entry, entry + 8) for entry in range(start, start + 24 * entries, 24)]
        return parts + [(start + 8 * width * entries, None)]

    # -- what containers own --

    def owned_by(self, address, general_lookups):
        """What an exact list, tuple or dict owns; None of any other object."""
        kind, word = self.type_of(address).exact, self.memory.word
        if kind == "tuple":
            return self.objects(address + 24, word(address + OB_SIZE))
        if kind == "list":
            return self.objects(word(address + LIST_ITEMS), word(address + OB_SIZE))
        if kind == "dict":
            return self.owned_by_dict(address, general_lookups)
        return None

    def objects(self, start, count):
        return [word for word in self.memory.words(start, start + 8 * count) if word]

    def owned_by_dict(self, address, general_lookups):
        """dict_traverse visits keys only where they need not be strings, and of a table shared between instances the dict's own values."""
        word = self.memory.word
        keys, values = word(address + DICT_KEYS), word(address + DICT_VALUES)
        start, width, entries = self.keys(keys)
        if values:
            # From 3.13 on values that stand in the instance are visited by it.
            if self.minor >= 13 and word(values) >> 16 & 0xFF:
                return []
            return self.objects(values + (8 if self.minor >= 13 else 0), entries)
        table = self.memory.words(start, start + 8 * width * entries)
        owned = [value for value in table[width - 1 :: width] if value]
        if word(keys + 16) in general_lookups if self.minor <= 10 else width == 3:
            owned += [key for key, value in zip(table[width - 2 :: width], table[width - 1 :: width]) if value]
        return owned

    def general_lookups(self, dicts):
        """Until 3.10 only the lookup function tells a table of any keys: the one that every table with a key that is no str has."""
        found = set()
        if self.minor <= 10:
            for address in dicts:
                keys = self.memory.word(address + DICT_KEYS)
                start, width, entries = self.keys(keys)
                table = self.memory.words(start, start + 8 * width * entries)
                if any(key and value and self.type_of(key).exact != "str" for key, value in zip(table[1::3], table[2::3])):
                    found.add(self.memory.word(keys + 16))
        return found
