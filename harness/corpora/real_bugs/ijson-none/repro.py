"""the C backend keeps a reference to None for every event that it passes on"""
import io
import sys
import ijson.backends.yajl2_c as ijson


def main(n):
    for i in range(n):
        list(ijson.items(io.BytesIO(b'{"a": [{"k": 1}, {"k": "v%d"}]}' % i), "a.item"))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
