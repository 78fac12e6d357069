"""update() leaks an int for every key: the position that it noted"""
import sys
from multidict import CIMultiDict

KEYS = {"key%d" % i: str(i) for i in range(300)}


def main(n):
    for i in range(n):
        CIMultiDict().update(KEYS)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
