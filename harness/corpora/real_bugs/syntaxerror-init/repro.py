"""calling SyntaxError.__init__ again leaks the file name and the text"""
import sys


def main(n):
    e = SyntaxError("x", ("f", 1, 2, "t"))
    for i in range(n):
        e.__init__("y", ("file %d" % i, 1, 2, "text %d" % i))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
