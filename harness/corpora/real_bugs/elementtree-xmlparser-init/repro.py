"""calling XMLParser.__init__ again leaks the parser's target and handlers"""
import sys
import xml.etree.ElementTree as ET


def main(n):
    p = ET.XMLParser()
    for i in range(n):
        p.__init__()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
