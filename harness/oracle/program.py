"""What the oracle looks at: a program of moderate size with something of everything. Arguments: the folder of the extension module `edges`,
and where it writes what every container owns."""

import asyncio
import collections
import ctypes
import functools
import gc
import json
import re
import sqlite3
import sys
import threading
import types
import weakref

gc.disable()
sys.path.insert(0, sys.argv[1])
import edges  # noqa: E402


class Plain:
    """With a dict of its own, which from 3.11 on may not exist yet."""

    def __init__(self, n):
        self.number = n
        self.list = [n, str(n)]


class Slotted:
    __slots__ = ("one", "other", "__weakref__")

    def __init__(self, one, other):
        self.one, self.other = one, other


class Listed(list):
    pass


class Mapped(dict):
    pass


Point = collections.namedtuple("Point", "x y")


def counting(limit):
    numbers = list(range(limit))
    for number in numbers:
        held = (number, numbers)
        yield held


def closure(n):
    cell = [n]
    return lambda: cell


def raised():
    try:
        {}["missing"]
    except KeyError as error:
        return error


plain = [Plain(n) for n in range(500)]
with_dicts = [p.__dict__ for p in plain[:100]]
for p in plain[100:150]:
    p.late = p
slotted = [Slotted(n, plain[n]) for n in range(300)]
references = [weakref.ref(s) for s in slotted] + [weakref.ref(p, lambda _: None) for p in plain[:50]]
proxies = [weakref.proxy(p) for p in plain[:20]]
by_reference = weakref.WeakKeyDictionary((p, p.number) for p in plain[:30])
# Numbers that equal addresses: as values, keys, hashes, and in arrays of bytes.
addresses = [id(p) for p in plain]
by_address = {id(p): p for p in plain}
set_of_addresses = set(addresses)
small_set_of_addresses = set(addresses[:3])
array_of_addresses = (ctypes.c_uint64 * 100)(*addresses[:100])
pointers = [ctypes.py_object(p) for p in plain[:10]]
sets = [frozenset(map(str, range(n))) for n in range(40)]
shrunk = [list(map(str, range(100))) for _ in range(20)]
for items in shrunk:
    del items[3:]
emptied = {str(n): Plain(n) for n in range(200)}
for n in range(150):
    del emptied[str(n)]
mixed = {key: [key] for key in (1, "one", (1, 2), 2.5, None, Point)}
subclasses = [Listed(plain[:10]), Mapped(a=plain[1]), Point(1, plain[2]), collections.OrderedDict(a=[1], b=[2])]
queue = collections.deque(plain[:100])
default = collections.defaultdict(list, {n: [plain[n]] for n in range(10)})
generators = [counting(10) for _ in range(50)]
for generator in generators[:40]:
    next(generator)
closures = [closure(n) for n in range(100)]
partials = [functools.partial(max, p.number, key=p) for p in plain[:20]]
errors = [raised() for _ in range(20)]
classes = [type("Made%d" % n, (Plain,), {"__doc__": "Made %d" % n, "number": n}) for n in range(50)]
instances = [c(1) for c in classes]
bound = [p.__init__ for p in plain[:50]]
views = [memoryview(bytearray(100)) for _ in range(10)]
texts = ["caf\u00e9 %d" % n for n in range(100)] + ["\u65e5\u672c %d" % n for n in range(100)]
copies = [t.encode() for t in texts]
large = [3**500, -(7**300), 1.5, complex(1, 2)]
patterns = [re.compile("a%d+" % n) for n in range(20)]
document = json.loads(json.dumps({str(n): [n, {"n": n}] for n in range(500)}))
database = sqlite3.connect(":memory:")
database.execute("create table t (a, b)")
database.executemany("insert into t values (?, ?)", [(n, str(n)) for n in range(200)])
rows = database.execute("select * from t").fetchall()
cursor = database.execute("select * from t")
cursor.fetchone()
module = types.ModuleType("made")
module.itself = module
sys.intern("an interned string of the oracle's program")

# Garbage: cycles that nobody reaches, and strings that hang in them.
for n in range(30):
    one, other = Plain(n), Mapped()
    one.other, other["one"] = other, one
    other["text"] = "lost %d" % n
del one, other, p, items, generator, n


async def waiting(event):
    await event.wait()


loop = asyncio.new_event_loop()


async def start_waiting():
    event = asyncio.Event()
    tasks = [asyncio.ensure_future(waiting(event)) for _ in range(20)]
    await asyncio.sleep(0)
    return event, tasks


event_and_tasks = loop.run_until_complete(start_waiting())

stop = threading.Event()
started = threading.Barrier(4)


def thread(own):
    started.wait()
    stop.wait()
    return own


threads = [threading.Thread(target=thread, args=([n],), daemon=True) for n in range(3)]
for t in threads:
    t.start()
started.wait()

answer = edges.audit(sys.argv[2])
stop.set()
for t in threads:
    t.join()
# 1 is a failing finding, which is not the oracle's affair; what is below 0 means that there was no audit.
sys.exit(3 if answer < 0 else 0)
