"""multidict: both kinds made, extended, updated, read in every way and dropped; proxies, views, missing keys."""
import sys

sys.path.pop(0)  # this folder: its files are named after the packages they use
from multidict import CIMultiDict, CIMultiDictProxy, MultiDict, MultiDictProxy, istr  # noqa: E402

kept = []
for i in range(200):
    d = MultiDict([("a", "1"), ("a", "2")], b="3")
    d.add("c", "4")
    d.getall("a"), list(d.items()), d.pop("b"), d.popall("a"), d.copy(), d == {"c": "4"}, repr(d), list(d.keys() & {"c"}), list(d.values())
    e = CIMultiDict(d)
    e.extend({"X": "y"})
    e.update({"X": "z", "new": "n"})
    e[istr("x")], e.setdefault("q", "r"), e.popitem(), MultiDictProxy(d)["c"], list(CIMultiDictProxy(e))
    # Each that lives owns the module, whose state alone it has a pointer to.
    kept.append(d)
    try:
        e["none"]
        sys.exit("an error was expected")
    except KeyError:
        pass
