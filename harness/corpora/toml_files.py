"""Reads TOML with any Python from 3.8 on.

`tomllib` where there is one (3.11). Before that, a reader for what the files of this folder use: comments, bare keys, basic strings on one
line, integers, floats, booleans, arrays of these (over several lines too), tables and arrays of tables. Anything else is an error, not a guess.
"""
import ast
import re

try:
    import tomllib
except ImportError:
    tomllib = None


def load(path):
    with open(path, encoding="utf-8") as f:
        text = f.read()
    try:
        return tomllib.loads(text) if tomllib else read(text)
    except ValueError as e:
        raise ValueError("%s: %s" % (path, e)) from None


TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|#[^\n]*|[^"#]')


def uncomment(line):
    return "".join(t for t in TOKEN.findall(line) if not t.startswith("#")).strip()


def unquoted(text):
    """`text` without its strings, to count brackets in."""
    return re.sub(r'"(?:[^"\\]|\\.)*"', '""', text)


def value(text, number):
    plain = re.sub(r"\btrue\b", "True", re.sub(r"\bfalse\b", "False", unquoted(text)))
    strings = iter(re.findall(r'"(?:[^"\\]|\\.)*"', text))
    # TOML's basic strings, numbers and arrays are Python's, but for true and false.
    source = re.sub(r'""', lambda _: next(strings), plain)
    try:
        return ast.literal_eval(source)
    except (ValueError, SyntaxError):
        raise ValueError("line %d: not understood: %s" % (number, text)) from None


def read(text):
    """The subset reader. ValueError names the line."""
    root = {}
    table = root
    lines = iter(enumerate(text.splitlines(), 1))
    for number, raw in lines:
        line = uncomment(raw)
        if not line:
            continue
        many = re.fullmatch(r"\[\[([\w.-]+)\]\]", line)
        one = re.fullmatch(r"\[([\w.-]+)\]", line)
        if many:
            table = {}
            root.setdefault(many.group(1), []).append(table)
            continue
        if one:
            table = root
            for part in one.group(1).split("."):
                table = table.setdefault(part, {})
            continue
        pair = re.match(r"([\w-]+)\s*=\s*(.+)", line)
        if not pair:
            raise ValueError("line %d: not understood: %s" % (number, line))
        body = pair.group(2)
        while unquoted(body).count("[") > unquoted(body).count("]"):
            try:
                body += " " + uncomment(next(lines)[1])
            except StopIteration:
                raise ValueError("line %d: array without end" % number) from None
        if pair.group(1) in table:
            raise ValueError("line %d: %s is set twice" % (number, pair.group(1)))
        table[pair.group(1)] = value(body, number)
    return root


if __name__ == "__main__":
    # The subset reader against tomllib, on the files named: they must agree.
    import sys

    for path in sys.argv[1:]:
        with open(path, encoding="utf-8") as f:
            text = f.read()
        if tomllib and read(text) != tomllib.loads(text):
            sys.exit("%s: the two readers disagree" % path)
        read(text)
        print("%s: ok" % path)
