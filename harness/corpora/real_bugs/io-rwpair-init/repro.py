"""calling BufferedRWPair.__init__ again leaks its reader and its writer"""
import sys
import io


def main(n):
    p = io.BufferedRWPair(io.BytesIO(), io.BytesIO())
    for i in range(n):
        p.__init__(io.BytesIO(), io.BytesIO())


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
