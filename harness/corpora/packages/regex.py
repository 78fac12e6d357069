"""regex: named groups, fuzzy matches, recursion, lists, splitting, replacing, wrong patterns, timeouts."""
import sys

sys.path.pop(0)  # this folder: its files are named after the packages they use
import regex  # noqa: E402

for i in range(150):
    found = regex.compile(r"(?<w>\w+)%d(?:e)?" % (i % 40)).search("zz%d" % (i % 40))
    found.groupdict(), found.capturesdict(), found.expandf("{w}"), found.detach_string()
    regex.findall(r"(?:foo){e<=1}", "fo fooo"), regex.sub(r"(?r)\d", "x", "a1b2"), regex.split(r"\s+", "a b c"), list(regex.finditer(r"\X", "\xe9a"))
    regex.fullmatch(r"(?|(a)|(b))+", "abab"), list(regex.splititer(r"x", "axb")), regex.match(r"(?P<x>a(?&x)?b)", "aabb")
    regex.compile(r"\L<words>", words=["a", "b"]).search("xb")
    for wrong in ("(", "[a", "(?P<n", "*", r"\p{nonsense}"):
        try:
            regex.compile(wrong)
            sys.exit("an error was expected")
        except regex.error as e:
            str(e)
    try:
        regex.match(r"(a+)+b", "a" * 60, timeout=0.001)
    except TimeoutError:
        pass
