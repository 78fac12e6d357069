"""simplejson: documents both ways with its options, keys of every kind, broken documents, objects that it does not know."""
import collections
import decimal
import sys

sys.path.pop(0)  # this folder: its files are named after the packages they use
import simplejson  # noqa: E402

Point = collections.namedtuple("Point", "x y")
for i in range(200):
    text = simplejson.dumps({"a": [1, 2.5, None, True, "x%d\xe9" % i], "p": Point(1, 2), "d": decimal.Decimal("1.5")}, sort_keys=True, indent=2)
    simplejson.loads(text, use_decimal=True), simplejson.loads(text, object_pairs_hook=list), simplejson.dumps({1: 2, None: 3, 2.5: 1})
    for wrong in ("{", "[1,", "nul", '"\x01"'):
        try:
            simplejson.loads(wrong)
            sys.exit("an error was expected")
        except ValueError as e:
            str(e)
    try:
        simplejson.dumps(object())
        sys.exit("an error was expected")
    except TypeError:
        pass
