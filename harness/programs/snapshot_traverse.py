"""Instances of a type whose tp_traverse misbehaves in the snapshot, beside what is really lost.

    snapshot_traverse.py FOLDER TYPE LOST

FOLDER holds the extension traverse_bad. LOST lists get a reference that nobody holds, and so does the list of victims, which is still in use.
"""

import sys

sys.path.insert(0, sys.argv[1])
import traverse_bad


class Lost(list):
    """A type of its own, so that its findings are told from others."""


class Victim:
    """What a type that destroys things destroys."""


class Used(list):
    """In use, and with a reference too many."""


def main():
    kind = getattr(traverse_bad, sys.argv[2])
    victims = [Victim() for _ in range(100)]
    traverse_bad.set_victims(victims)
    used = Used(victims)
    traverse_bad.leak(used)
    for i in range(int(sys.argv[3])):
        traverse_bad.leak(Lost([i]))
    holders = [kind(["held", i]) for i in range(50)]
    return holders, victims, used


kept = main()
print(len(kept[0]), len(kept[1]), len(kept[2]))
sys.exit(5)
