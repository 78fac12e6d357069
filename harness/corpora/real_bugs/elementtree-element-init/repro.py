"""calling Element.__init__ again leaks the block that holds attributes and children"""
import sys
import xml.etree.ElementTree as ET


def main(n):
    e = ET.Element("x", {"a": "b"})
    for i in range(n):
        e.__init__("x", {"a": "b"})


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
