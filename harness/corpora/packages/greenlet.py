"""greenlet: switches, exceptions thrown in, greenlets dropped while suspended; some alive at the end, with C frames on stacks that are saved away."""
import sys

sys.path.pop(0)  # this folder: its files are named after the packages they use
import greenlet  # noqa: E402


def work(n):
    on_the_stack = [object(), "text %d" % n]
    greenlet.getcurrent().parent.switch(n)
    # A C function's frame between: the list that it sorts is known to its stack alone.
    sorted([3, 1, 2], key=lambda key: greenlet.getcurrent().parent.switch(key) or key)
    return on_the_stack


for i in range(200):
    whole = greenlet.greenlet(work)
    whole.switch(i)
    while not whole.dead:
        whole.switch()
    thrown = greenlet.greenlet(work)
    thrown.switch(i)
    try:
        thrown.throw(ValueError)
        sys.exit("an error was expected")
    except ValueError:
        pass
    dropped = greenlet.greenlet(work)
    dropped.switch(i)
    del dropped
alive = [greenlet.greenlet(work) for i in range(50)]
for g in alive:
    g.switch(1)
    g.switch()
