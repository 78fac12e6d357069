"""an iteration by name leaks a reference to the namespace whenever the document learns a new name meanwhile"""
import sys
from lxml import etree

XML = b"<r xmlns:a='urn:u'>" + b"<a:i/>" * 5 + b"</r>"


def main(n):
    root = etree.fromstring(XML)
    for i in range(n):
        items = root.iter("{urn:u}i")
        next(items).set("name%d" % i, "")
        next(items)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
