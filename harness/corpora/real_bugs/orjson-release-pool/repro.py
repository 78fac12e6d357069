"""orjson.loads() of invalid text piles up the error's messages in a living list"""
import sys
import orjson


def main(n):
    for i in range(n):
        try:
            orjson.loads("Whatever")
        except orjson.JSONDecodeError:
            pass


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
