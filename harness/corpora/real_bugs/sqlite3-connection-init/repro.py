"""calling Connection.__init__ again leaks the database handle, some 15 kB in many blocks"""
import sys
import sqlite3


def main(n):
    c = sqlite3.connect(":memory:")
    for i in range(n):
        c.__init__(":memory:")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
