"""property.getter(None) drops a reference to None"""
import sys
import gc

# None must not reach zero while the interpreter shuts down: these references
# to it (a frozen cycle, which is never collected) outlive everything else.
BALLAST = [None] * 100000
BALLAST.append(BALLAST)
gc.freeze()


def main(n):
    p = property(len)
    for i in range(n):
        p.getter(None)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
