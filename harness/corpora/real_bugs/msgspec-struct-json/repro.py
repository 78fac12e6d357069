"""decoding JSON into a Struct leaks the values of its fields"""
import sys
import msgspec


class Point(msgspec.Struct):
    x: int
    y: int


dec = msgspec.json.Decoder(Point)


def main(n):
    for i in range(n):
        dec.decode(b'{"x":%d,"y":%d}' % (i + 100000, i + 200000))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
