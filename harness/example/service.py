"""A service that answers requests through an extension that leaks a list for each (leaky.c), and says now and then what it takes.

    service.py REQUESTS [BYTES OF A NAME]

Whoever asks is an object that others watch by weak references, as caches and observers do. The leaked list holds it, so nobody is ever told that it is gone; under
`GCSHIM_MODE=collect` it goes as soon as the list is found lost. At the end: the requests, the wrong answers, who was told, and who at the end.
"""
import ctypes
import sys
import weakref

import leaky

requests, name_bytes = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0
watched, told, wrong = {}, 0, 0


class Visitor(str):
    """A text that can be watched."""


def resident_mib():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS:")) // 1024


def gone(number):
    global told
    del watched[number]
    told += 1


def serve(number):
    global wrong
    name = f"visitor {number}".ljust(name_bytes)
    visitor = Visitor(name)
    watched[number] = weakref.ref(visitor, lambda _: gone(number))
    wrong += leaky.greet(visitor) != "hello " + name


for number in range(requests):
    serve(number)
    if (number + 1) % (requests // 10) == 0:
        print(f"requests {number + 1} resident {resident_mib()} MiB told {told}", flush=True)
collect = getattr(ctypes.CDLL(None), "gcshim_collect", None)
if collect:
    collect()
print(f"served {requests} wrong {wrong} told {told} of {requests - len(watched)}")
