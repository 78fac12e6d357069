"""re-entering chain.__next__ from the iterator it asks leaks the inner iterators"""
import sys
import itertools


class It:
    def __init__(self):
        self.depth = 0
        self.it = None

    def __iter__(self):
        return self

    def __next__(self):
        self.depth += 1
        if self.depth < 3:
            next(self.it)
        return [self.depth]


def main(n):
    for i in range(n):
        x = It()
        it = x.it = itertools.chain.from_iterable(x)
        next(it)
        x.it = None


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
