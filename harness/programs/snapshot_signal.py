"""Audits on a signal, while the program computes, is idle, or has many threads.

    snapshot_signal.py CASE LEAKED

LEAKED lists get a reference that nobody holds. Prints what the program computed, which must be the same with and without audits.
"""

import ctypes
import os
import select
import signal
import subprocess
import sys
import threading
import time

SIGNALS = 3


class Lost(list):
    """A type of its own, so that its findings are told from others."""


def leak(n):
    increment = ctypes.pythonapi.Py_IncRef
    increment.argtypes = [ctypes.py_object]
    increment.restype = None
    for i in range(n):
        increment(Lost([i]))


def work(n):
    total = 0
    for i in range(n):
        words = {str(j): [j, (i, j)] for j in range(50)}
        total += len(words) + words["7"][1][0]
    return total


def compute():
    total = 0
    for _ in range(SIGNALS):
        os.kill(os.getpid(), signal.SIGUSR2)
        total += work(300)
    return total


def signals_from_outside():
    """A process that sends signals while we are idle; its output ends when it is done."""
    script = "sleep 0.15; i=0; while [ $i -lt %d ]; do kill -USR2 $PPID; sleep 0.15; i=$((i+1)); done" % SIGNALS
    return subprocess.Popen(["/bin/sh", "-c", script], stdout=subprocess.PIPE, env={"PATH": os.environ.get("PATH", "/bin:/usr/bin")})


def idle_in_select():
    sender = signals_from_outside()
    ready, _, _ = select.select([sender.stdout], [], [])
    rest = ready[0].read()
    return (rest, sender.wait())


def idle_in_sleep():
    sender = signals_from_outside()
    while sender.poll() is None:
        time.sleep(0.5)
    return sender.returncode


def idle_in_lock():
    sender = signals_from_outside()
    done = threading.Event()
    threading.Thread(target=lambda: (sender.wait(), done.set())).start()
    return done.wait()


def threads():
    results = [None] * 16

    def run(at):
        results[at] = work(40)

    running = [threading.Thread(target=run, args=(at,)) for at in range(len(results))]
    for thread in running:
        thread.start()
    for _ in range(SIGNALS):
        os.kill(os.getpid(), signal.SIGUSR2)
        time.sleep(0.05)
    for thread in running:
        thread.join()
    return sum(results)


def threads_idle():
    """Nobody holds the GIL: all wait."""
    sender = signals_from_outside()
    done = threading.Event()
    running = [threading.Thread(target=done.wait) for _ in range(16)]
    for thread in running:
        thread.start()
    code = sender.wait()
    done.set()
    for thread in running:
        thread.join()
    return code


leak(int(sys.argv[2]))
print(globals()[sys.argv[1]]())
