"""What copy-on-write costs a program: it touches a large heap before an audit, while the audit's snapshot lives, and after. Arguments: millions of blocks, rounds.

    LD_PRELOAD=libgcshim.so GCSHIM_AUDIT=signal GCSHIM_PLAIN=0 python3 harness/bench/python/touch_heap.py 6 3

Prints one JSON object a round: processor ms of a pass over all lists (each pass writes every list's reference count), and page faults, of each of the three.
"""
import gc
import json
import os
import resource
import signal
import sys
import time


def main(millions, rounds):
    gc.disable()
    keep = [[i + 0.5] for i in range(int(millions * 1_000_000 / 3))]

    def touch():
        faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        start = time.process_time()
        for _ in keep:
            pass
        return (time.process_time() - start) * 1000, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults

    touch()
    for _ in range(rounds):
        before = touch()
        os.kill(os.getpid(), signal.SIGUSR2)
        during = touch()
        # The next pass meets pages that are its own again, if the snapshot has ended.
        time.sleep(5)
        touch()
        after = touch()
        print(json.dumps({"before": before, "during": during, "after": after}), flush=True)


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]))
