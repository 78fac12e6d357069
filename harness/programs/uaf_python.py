"""Borrowed references that outlive what they are to, in a Python program: as uaf.h has it for C. Argument: `dict` or `list`.

Prints `intact` or `reused` and the peak of the resident memory in KiB, and exits with 0 or 1.
"""
import os
import random
import sys

import uaf_borrowed

CHURN_BYTES = 320 << 20
SIZE = 200
ROUNDS = 16

kept = []


def life_goes_on():
    kept.append([b"l" * 4000 for _ in range(int(os.environ.get("UAF_LIVE_MIB", "0")) << 8)])
    rng = random.Random(1)
    slots = [None] * 1024
    for _ in range(ROUNDS):
        kept.extend(b"Z" * SIZE for _ in range(512))
        left = CHURN_BYTES // ROUNDS
        while left > 0:
            size = rng.randrange(600, 4000)
            slots[rng.randrange(len(slots))] = b"c" * size
            left -= size


def verdict(intact):
    with open("/proc/self/status") as status:
        peak = next(line.split()[1] for line in status if line.startswith("VmHWM:"))
    print("intact" if intact else "reused", peak, flush=True)
    # The end of the interpreter would release what was released once too often already: a second mistake, which is not the subject here.
    os._exit(0 if intact else 1)


def released():
    settings = {"secret": b"s" * SIZE}
    if uaf_borrowed.length(settings, "secret") != SIZE:
        return False
    life_goes_on()
    return uaf_borrowed.content(settings, "secret") == b"s" * SIZE


def taken_out():
    items = [b"i" * SIZE for _ in range(3)]

    def accepts(item):
        items.clear()
        del item
        life_goes_on()
        return True

    return uaf_borrowed.first(items, accepts) == b"i" * SIZE


verdict({"dict": released, "list": taken_out}[sys.argv[1]]())
