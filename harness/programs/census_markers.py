"""Audits the same heap on one processor and on all that there are, which is marking by one thread and by two. Large enough to be worth a second thread.

Prints how many processors there are.
"""
import ctypes
import gc
import os
import sys

gc.disable()


class Node:
    def __init__(self, number, other):
        self.number, self.other = number, other


shared = [str(number) for number in range(1000)]
keep, last = [], None
for i in range(12000):
    last = Node(i, last if i % 7 else None)
    keep.append([i + 0.5, shared[i % 1000], {i: last, "key": (i, shared[i * 7 % 1000])}, bytes(8), {last, i}])
for i in range(1500):
    cycle = [shared[i % 1000], i + 0.25]
    cycle.append(cycle)
    lost = [shared[i % 1000], (i, cycle)]
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(lost))
cycle = lost = None

audit, nothing = ctypes.PyDLL(None).gcshim_audit, ctypes.PyDLL(None).getpid
set_processors = ctypes.CDLL(None).sched_setaffinity
every = os.sched_getaffinity(0)
one = (1 << min(every)).to_bytes(128, sys.byteorder)
masks = ctypes.create_string_buffer(one * 31 + b"\xff" * 128, 32 * 128)
rest = ctypes.byref(masks, 128)
# Each round does the same with the same objects, so that they have the same references, in stale places too; by the time of the audits the interpreter
# has specialised all of it.
for call in [nothing] * 30 + [audit] * 2:
    set_processors(0, 128, masks)
    call()
    ctypes.memmove(masks, rest, 31 * 128)
print(len(every))
