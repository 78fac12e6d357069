#!/usr/bin/env python3
"""The slow census: the shim's numbers, counted again from the memory of the very snapshot that it counted.

    census.py --shim libgcshim.so --python PYTHON --extension FOLDER

Runs program.py on PYTHON under the shim, with the extension module `edges` from FOLDER, and compares object by object: reference count, words,
tagged words, reachability, owners. Prints a table, and says what disagrees; exits with 1 if anything does. From the shim's census are taken
the addresses of blocks and objects and the ranges outside the heap; all numbers are counted anew.
"""

import argparse
import array
import os
import sys
import tempfile
from collections import Counter, defaultdict

from counting import Counted
from model import Model
from snapshot import Snapshot

HERE = os.path.dirname(os.path.abspath(__file__))
SHOWN = 10


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shim", required=True, help="libgcshim.so")
    parser.add_argument("--python", required=True, help="the interpreter to look at")
    parser.add_argument("--extension", required=True, help="the folder with the module `edges` built for it")
    parser.add_argument("--count", default="", metavar="RULE,...", help="count these words too, to see the oracle disagree")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        edges = os.path.join(folder, "edges")
        program = [arguments.python, os.path.join(HERE, "program.py"), arguments.extension, edges]
        snapshot = Snapshot(program, dict(os.environ, LD_PRELOAD=arguments.shim, GCSHIM_AUDIT="never", GCSHIM_PLAIN="0"))
        lines = snapshot.rest()
        rules = {rule.partition(":")[0] for rule in snapshot.head["not_counted"]}
        if rules - Model.RULES:
            sys.exit("the oracle does not know the shim's rules " + ", ".join(sorted(rules - Model.RULES)))
        return compare(snapshot, lines, rules - set(arguments.count.split(",")), read_edges(edges))


def read_edges(path):
    pairs = array.array("Q")
    with open(path, "rb") as file:
        pairs.frombytes(file.read())
    edges = defaultdict(list)
    for container, owned in zip(pairs[0::2], pairs[1::2]):
        edges[container].append(owned)
    return edges


def compare(snapshot, lines, rules, edges):
    head = snapshot.head
    ranges = [(int(r["start"], 16), int(r["end"], 16), r["kind"]) for r in head["ranges"]]
    model = Model(snapshot.memory, head["python"], rules)
    counted = Counted(snapshot.memory, model, ranges, lines)
    reached = counted.reach()
    owned, parsed = counted.owners(edges)
    table = Table()
    for address, line in counted.objects.items():
        inside = "block" in line
        compare_object(table, counted, model, address, line)
        # 3.11's cleared type attribute cache owns None 4096 times (type_cache_clear in Objects/typeobject.c).
        cache = 4096 if line.get("type") == "NoneType" and head["python"].startswith("3.11.") else 0
        table.equal("owned", line, line["owned"], owned[address] + cache)
        if inside:
            table.equal("reachable", line, line["reachable"], int(line["block"], 16) in reached)
    for start, line in counted.blocks:
        if line["kind"] != "object":
            table.equal("reachable blocks", line, line["reachable"], start in reached)
        if line["kind"] != "block":
            alive = model.is_alive(int(line["address"], 16))
            table.equal("alive", line, line["kind"] == "object", alive)
    compare_with_others(table, counted, model, owned)
    print("CPython %s: %d objects, %d of them in modules, %d lists, tuples and dicts parsed; %d words read" % (
        head["python"], len(counted.objects), sum("block" not in o for o in counted.objects.values()), parsed, counted.words_read))  # fmt: skip
    for rule, words in sorted(counted.left_out.items()):
        print("  words that name objects and do not count: %8d  %s" % (sum(words.values()), rule))
    return table.show()


def compare_object(table, counted, model, address, line):
    table.equal("refcount", line, line["refcount"], model.refcount(address))
    table.equal("words", line, line["words"], counted.words(address))
    table.check(
        "words, at most every word",
        line["words"] <= counted.naive[address],
        "%s: %d of %d" % (described(line), line["words"], counted.naive[address]),
    )
    if "block" in line:
        table.equal("tagged", line, line["tagged"], counted.words_tagged(address))


def compare_with_others(table, counted, model, owned):
    """Whether the census has all objects that can be known of otherwise."""
    known = {a for a, line in counted.objects.items() if "block" in line}
    for address in counted.in_collectors_lists():
        table.check("in the collector's lists", address in known, "%#x %s" % (address, model.type_of(address).name))
    for target, count in owned.items():
        kind = model.type_of(target)
        if kind.ready:
            table.check("owned by something", target in counted.objects, "%#x %s, owned %d times" % (target, kind.name, count))
        else:
            table.explain("instances of types that were never made ready, such as %s" % kind.name)
    for kind in counted.looking_like_objects():
        # Memory that was an object's before may still look like it.
        table.explain("native block that begins like an object of type %s" % model.type_at(kind).name)


def described(line):
    return "%s %s" % (line.get("address") or line["block"], line.get("type") or "%d bytes" % line["bytes"])


class Table:
    """How many comparisons of each kind agree, and those that do not."""

    def __init__(self):
        self.agree, self.explained, self.differ = Counter(), Counter(), {}

    def equal(self, what, line, shim, oracle):
        if shim == oracle:
            self.agree[what] += 1
        else:
            self.differ.setdefault(what, []).append("%s: the shim says %s, the oracle %s" % (described(line), shim, oracle))

    def check(self, what, right, text):
        if right:
            self.agree[what] += 1
        else:
            self.differ.setdefault(what, []).append(text)

    def explain(self, why):
        self.explained[why] += 1

    def show(self):
        for what in sorted(set(self.agree) | set(self.differ)):
            print("  %-42s %8d equal, %d different" % (what, self.agree[what], len(self.differ.get(what, ()))))
        for why, count in self.explained.items():
            print("  explained: %d times: %s" % (count, why))
        for what, texts in self.differ.items():
            for text in texts[:SHOWN]:
                print("  different: %s: %s" % (what, text))
            if len(texts) > SHOWN:
                print("  different: %s: and %d more" % (what, len(texts) - SHOWN))
        return 1 if self.differ else 0


if __name__ == "__main__":
    sys.exit(main())
