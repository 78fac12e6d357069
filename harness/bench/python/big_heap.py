"""A large heap for the audit to look at: `count` million blocks in lists of small objects. Audits it and prints nothing itself."""
import ctypes
import gc
import sys


def main(millions):
    gc.disable()
    # A float in a one-item list is three blocks: the list, its item array, the float.
    return [[i + 0.5] for i in range(int(millions * 1_000_000 / 3))]


if __name__ == "__main__":
    keep = main(float(sys.argv[1]) if len(sys.argv) > 1 else 6)
    audit = ctypes.PyDLL(None).gcshim_audit
    for _ in range(int(sys.argv[2]) if len(sys.argv) > 2 else 3):
        audit()
