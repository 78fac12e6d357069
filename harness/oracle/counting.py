"""The same numbers as the shim's, counted the slow way: every word of every range and block, one after the other."""

import bisect
import itertools
from collections import Counter, defaultdict

from model import OB_TYPE


class Counted:
    """All numbers of one snapshot."""

    def __init__(self, memory, model, ranges, lines):
        self.memory, self.model, self.ranges = memory, model, ranges
        self.objects = {int(o["address"], 16): o for o in lines if o["kind"] in ("object", "static")}
        self.blocks = sorted((int(b["block"], 16), b) for b in lines if "block" in b)
        self.starts = [start for start, _ in self.blocks]
        self.ends = [start + b["bytes"] for start, b in self.blocks]
        self.weak = self.find_weak_parts()
        self.count_words()

    # -- words --

    def find_weak_parts(self):
        """For each block the parts that do not count, in order: (start, end, rule)."""
        weak = defaultdict(list)
        # The blocks that objects which are alive keep their references in.
        self.tables = set()
        for (start, block), end in zip(self.blocks, self.ends):
            if block["kind"] == "block":
                for record in self.model.linker_records(start, end):
                    weak[record] = [(record, None, "linker")]
                continue
            address, dead = int(block["address"], 16), block["kind"] == "dead"
            weak[start] += self.model.weak_parts(start, end, address, dead)
            for inside, parts, rule in () if dead else self.model.tables(address):
                if self.block_at(inside) == inside:
                    self.tables.add(inside)
                    # Several dicts may share a table.
                    weak[inside] = [(a, b, rule) for a, b in parts]
        for start, parts in weak.items():
            end = self.ends[bisect.bisect_left(self.starts, start)]
            cut = [(max(a, start), min(end if b is None else b, end), rule) for a, b, rule in parts if rule in self.model.rules]
            weak[start] = sorted(part for part in cut if part[0] < part[1])
        return weak

    def count_words(self):
        self.naive, self.tagged = Counter(), Counter()
        self.left_out, self.tagged_left_out = defaultdict(Counter), defaultdict(Counter)
        self.words_read = 0
        for start, end, _ in self.ranges:
            self.add(self.memory.words(start, end), self.naive, self.tagged)
        for start, end in zip(self.starts, self.ends):
            self.add(self.memory.words(start, end), self.naive, self.tagged)
            for a, b, rule in self.weak.get(start, ()):
                self.add(self.memory.words(a, b), self.left_out[rule], self.tagged_left_out[rule])

    def add(self, words, exact, tagged):
        words = words.tolist()
        self.words_read += len(words)
        exact.update(filter(self.objects.__contains__, words))
        tagged.update(word & ~7 for word in words if word & 7 and word & ~7 in self.objects)

    def words(self, address):
        return self.naive[address] - sum(rule[address] for rule in self.left_out.values())

    def words_tagged(self, address):
        return self.tagged[address] - sum(rule[address] for rule in self.tagged_left_out.values())

    # -- reachability --

    def block_at(self, address):
        """The start of the block that has the address, if one has."""
        at = bisect.bisect_right(self.starts, address) - 1
        return self.starts[at] if at >= 0 and address < self.ends[at] else None

    def reach(self):
        """The starts of all blocks that the roots lead to. A word anywhere into a block keeps it, but for a link to a GC head; what a destroyed
        object has left in it keeps native memory alone, and none that is another object's."""
        kinds = {start: (block["kind"], int(block.get("address", "0"), 16)) for start, block in self.blocks}
        low, high = self.starts[0], self.ends[-1]
        reached, waiting = set(), []

        def follow(words, from_dead):
            for word in set(words):
                if not low <= word < high:
                    continue
                start = self.block_at(word)
                if start is None or start in reached:
                    continue
                kind, address = kinds[start]
                if kind != "block" and (from_dead and kind == "object" or start < address and word == address - 16):
                    continue
                if kind == "block" and from_dead and start in self.tables:
                    continue
                reached.add(start)
                waiting.append(start)

        for start, end, _ in self.ranges:
            follow(self.memory.words(start, end), False)
        while waiting:
            start = waiting.pop()
            end = self.ends[bisect.bisect_left(self.starts, start)]
            at = start
            for a, b, rule in itertools.chain(self.weak.get(start, ()), [(end, end, None)]):
                if at < a:
                    follow(self.memory.words(at, a), False)
                if rule in ("dead", "linker"):
                    follow(self.memory.words(a, b), True)
                at = max(at, b)
        return reached

    # -- owners --

    def owners(self, edges):
        """How many references containers own, by target: exact lists, tuples and dicts from memory, all others as their own tp_traverse said it
        in the program."""
        model = self.model
        inside = [int(b["address"], 16) for _, b in self.blocks if b["kind"] == "object"]
        general = model.general_lookups(a for a in inside if model.type_of(a).exact == "dict")
        owned, parsed = Counter(), 0
        for address in inside:
            targets = model.owned_by(address, general)
            if targets is None:
                targets = edges.get(address, ())
            else:
                parsed += 1
            owned.update(targets)
        return owned, parsed

    # -- completeness --

    def in_collectors_lists(self):
        """Every object that hangs in the collector's lists: all nodes that can be walked to from any tracked object."""
        model, word = self.model, self.memory.word
        known = {int(b["address"], 16): b["kind"] for _, b in self.blocks if b["kind"] == "object"}
        met = set()
        for address in known:
            if not model.type_of(address).gc or not word(address - 16):
                continue
            node = address - 16
            while node and node not in met:
                met.add(node)
                node = word(node) & ~7
        # The heads of the generations lie deep in the interpreter's state: since 3.9 in a block of the heap, before that in static memory.
        return {node + 16 for node in met if node - (self.block_at(node) or 0) in (0, 16)}

    def looking_like_objects(self):
        """The types of native blocks that begin as an object without the collector would: a small count, and a type that has instances."""
        word = self.memory.word
        types = {word(a + OB_TYPE) for a in self.objects}
        types = {t for t in types if not self.model.type_at(t).gc}
        for start, block in self.blocks:
            if block["kind"] == "block" and block["bytes"] >= 16 and word(start + OB_TYPE) in types and 0 < word(start) < 1 << 32:
                yield word(start + OB_TYPE)
