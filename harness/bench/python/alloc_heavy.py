"""An allocation-heavy script: trees, dicts, strings and objects made and dropped, with a working set that stays. Argument: rounds."""
import sys


class Node:
    __slots__ = ("left", "right", "value")

    def __init__(self, left, right, value):
        self.left, self.right, self.value = left, right, value


def tree(depth):
    return None if depth == 0 else Node(tree(depth - 1), tree(depth - 1), depth)


def main(rounds):
    keep = []
    total = 0
    for number in range(rounds):
        root = tree(14)
        words = [f"word-{number}-{i}" for i in range(20_000)]
        table = {word: [i, (i, word)] for i, word in enumerate(words)}
        total += sum(len(entry) for entry in table.values())
        joined = ",".join(words).split(",")
        records = [dict(a=i, b=str(i), c=[i] * 3) for i in range(10_000)]
        keep.append(records[::10])
        if len(keep) > 8:
            keep.pop(0)
        del root, words, table, joined, records
    return total


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10)
