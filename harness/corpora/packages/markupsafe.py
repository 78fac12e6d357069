"""MarkupSafe: text of every width escaped, objects with __html__, formatting, joining, objects that fail."""
import sys

sys.path.pop(0)  # this folder: its files are named after the packages they use
import markupsafe  # noqa: E402


class Html:
    def __html__(self):
        return "<i>"


class Failing:
    def __str__(self):
        raise ValueError


for i in range(300):
    for text in ("<a>%d" % i, "plain", "\xe9<", "\u20ac&", "\U0001f600>", None, 5, Html()):
        markupsafe.escape(text)
    markupsafe.escape_silent(None), markupsafe.soft_str(5)
    markupsafe.Markup("<b>%s</b>") % "<x>", markupsafe.Markup("a").join(["<"]), markupsafe.Markup("<p>x</p>").striptags()
    try:
        markupsafe.escape(Failing())
        sys.exit("an error was expected")
    except ValueError:
        pass
