"""lxml: parsing (strings, files, feeds, events, HTML), XPath, XSLT, schemas, building, serializing, custom elements, errors."""
import io
import sys

sys.path.pop(0)  # this folder: its files are named after the packages they use
from lxml import etree, html, objectify  # noqa: E402

XML = b"<r xmlns:a='urn:u'>" + b"".join(b"<i k='%d'><a:t>v%d</a:t>tail</i>" % (i, i) for i in range(30)) + b"</r>"
XSL = etree.XSLT(etree.XML("""<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform">
<xsl:param name="p"/><xsl:template match="/"><o p="{$p}"><xsl:value-of select="count(//i)"/></o></xsl:template></xsl:stylesheet>"""))
XSD = etree.XMLSchema(etree.XML("""<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema"><xs:element name="n" type="xs:integer"/></xs:schema>"""))


class Target:
    def __init__(self):
        self.seen = []

    def start(self, tag, attrib):
        self.seen.append((tag, dict(attrib)))

    def end(self, tag):
        pass

    def data(self, text):
        self.seen.append(text)

    def close(self):
        return self.seen


for i in range(150):
    tree = etree.fromstring(XML)
    tree.xpath("//i[@k='3']/a:t/text()", namespaces={"a": "urn:u"}), tree.find(".//i[@k='4']"), etree.XPath("count(//i)")(tree)
    for e in tree.iter("i"):
        e.set("z", "1")
        e.text = "t%d" % i
    tree.remove(tree[0])
    tree.append(etree.SubElement(tree[1], "new", attrib={"q": "r"}))
    etree.tostring(tree, pretty_print=True), etree.tostring(XSL(tree, p="'%d'" % i)), etree.tostring(tree, method="c14n")
    for _, e in etree.iterparse(io.BytesIO(XML), events=("start", "end", "start-ns")):
        pass
    assert XSD.validate(etree.XML("<n>%d</n>" % i)) and not XSD.validate(etree.XML("<n>x</n>"))
    page = html.fromstring("<p>a<b>b</b><a href='x'>l</a><br>")
    page.make_links_absolute("http://localhost/"), html.tostring(page), page.text_content(), list(page.iterlinks())
    o = objectify.fromstring(b"<a><b>1</b><b>2.5</b><c>s</c></a>")
    o.b[0] + o.b[1], str(o.c), objectify.dump(o)
    etree.fromstring(XML, etree.XMLParser(target=Target()))
    parser = etree.XMLPullParser(events=("end",))
    parser.feed(b"<a><b/>")
    list(parser.read_events())
    parser.feed(b"</a>")
    parser.close()
    with etree.xmlfile(io.BytesIO()) as f, f.element("root"):
        f.write(etree.Element("x"))
    for wrong in (lambda: etree.fromstring(b"<a><b></a>"), lambda: tree.xpath("//["), lambda: etree.XSLT(etree.XML("<a/>")),
                  lambda: XSD.assertValid(etree.XML("<m/>")), lambda: etree.Element("1 x")):
        try:
            wrong()
        except (etree.LxmlError, ValueError):
            pass
        else:
            sys.exit("an error was expected")
