"""Do the bugs of seeded.c do what they say, and do their twins not? Judged by CPython's own counters, without gcshim.

    python3 seeded_check.py FOLDER_OF_SEEDED_SO

Prints one line for everything that is wrong, or "all N bugs are real, and their twins clean".
"""

import gc
import sys
import types

sys.path.insert(0, sys.argv[1])
import seeded

N = 100
gc.disable()
wrong = []


def expect(what, got, want):
    if got != want:
        wrong.append(f"{what}: {got}, not {want}")


class Thing:
    pass


class Host:
    def method(self):
        pass


def generate():
    yield 1


weakly_known = []
numbered = {}, set()
ARGUMENTS = {
    "leaked_instance": Thing,
    "leaked_weakly_known": (Thing, weakly_known),
    "leaked_numbered": numbered,
    "leaked_method": Host().method,
    "leaked_generator": generate,
    "leaked_running_generator": generate,
}


def grown(measure, commit, name, n):
    before = measure()
    commit(name, n, ARGUMENTS.get(name))
    for known in (weakly_known, *numbered):
        known.clear()
    return measure() - before


def slope(measure, commit, name):
    """What one commit adds to a measure, once the free lists (of up to 2,000 tuples of one size) are used up and the caches full."""
    grown(measure, commit, name, 3000)
    # Measuring allocates too, the number that it compares with for one: N commits more must make the difference.
    return (grown(measure, commit, name, N + 1) - grown(measure, commit, name, 1)) / N


def live(type):
    return sum(1 for o in gc.get_objects() if o.__class__ is type)


def check_leaked_blocks():
    # name, and how many small blocks one commit loses at least: the object, and what it alone holds
    for name, least in [
        ("leaked_list", 2), ("leaked_tuple", 1), ("leaked_dict", 2), ("leaked_bytes", 1), ("leaked_str", 1),
        ("leaked_int", 1), ("leaked_float", 1), ("leaked_instance", 2), ("leaked_weakly_known", 2), ("leaked_numbered", 1),
        ("leaked_method", 1),
        ("leaked_generator", 1), ("leaked_running_generator", 1), ("leaked_list_of_tuples", 5), ("leaked_twice", 1),
    ]:
        expect(f"twin {name}, blocks", slope(sys.getallocatedblocks, seeded.twin, name), 0)
        lost = slope(sys.getallocatedblocks, seeded.bug, name)
        if lost < least or lost != int(lost):
            wrong.append(f"bug {name}, blocks: {lost}, not a whole number from {least} up")
        yield name


def check_leaked_tracked():
    for name, type, each in [
        ("leaked_list", list, 1), ("leaked_method", types.MethodType, 1), ("leaked_generator", types.GeneratorType, 1),
        ("leaked_running_generator", types.GeneratorType, 1), ("leaked_instance", Thing, 1), ("leaked_weakly_known", Thing, 1),
        ("leaked_list_of_tuples", tuple, 3), ("leaked_list_of_tuples", list, 1),
    ]:
        expect(f"twin {name}, live {type.__name__}", slope(lambda: live(type), seeded.twin, name), 0)
        expect(f"bug {name}, live {type.__name__}", slope(lambda: live(type), seeded.bug, name), each)


def check_surplus():
    for what, victim in [("module", types.ModuleType("victim")), ("type", type("Victim", (), {})), ("None", None)]:
        # None is immortal since 3.12: its count is no count.
        if victim is None and sys.version_info >= (3, 12):
            continue
        for commit, want in (seeded.twin, 0), (seeded.bug, N):
            before = sys.getrefcount(victim)
            commit("surplus_reference", N, victim)
            # The count of None wanders with every frame and every default value, but by far less than N.
            got = sys.getrefcount(victim) - before
            if victim is None and abs(got - want) < N // 4:
                got = want
            expect(f"{commit.__name__} surplus_reference on a {what}", got, want)
    yield "surplus_reference"


def check_forgotten_type():
    for commit, want in (seeded.twin, 0), (seeded.bug, N):
        before = sys.getrefcount(seeded.Opaque)
        commit("forgotten_type", N)
        expect(f"{commit.__name__} forgotten_type", sys.getrefcount(seeded.Opaque) - before, want)
    yield "forgotten_type"


def check_over_released():
    for commit, want in (seeded.twin, 10), (seeded.bug, 5):
        start = len(seeded.over_released_list() or ())
        commit("over_released", N)
        items = seeded.over_released_list()
        # Each object is held ten times. The argument of getrefcount is one reference more.
        counts = {sys.getrefcount(items[k]) - 1 for k in range(start, len(items), 10)}
        expect(f"{commit.__name__} over_released, held", (len(items) - start) / N, 10)
        expect(f"{commit.__name__} over_released, counts", counts, {want})
    yield "over_released"


def check_over_released_type():
    for commit, want in (seeded.twin, 3), (seeded.bug, 1):
        commit("over_released_type", 1)
        by_hand = seeded.over_released_list()[-1]
        before = sys.getrefcount(by_hand)
        commit("over_released_type", N)
        immortal = sys.version_info >= (3, 13)
        expect(f"{commit.__name__} over_released_type, count", sys.getrefcount(by_hand) - before, 0 if immortal else want * N)
    yield "over_released_type"


def check_cycles():
    for name in "opaque_cycle", "forgotten_cycle":
        for commit, stays in (seeded.twin, False), (seeded.bug, True):
            gc.collect()
            lists, before = live(list), sys.getallocatedblocks()
            commit(name, N)
            gc.collect()
            expect(f"{commit.__name__} {name}, lists that gc leaves", live(list) - lists, N if stays else 0)
            if stays and sys.getallocatedblocks() - before < 2 * N:
                wrong.append(f"bug {name}: no blocks stay")
        yield name


def check_forgotten_member():
    for commit, visible in (seeded.twin, True), (seeded.bug, False):
        keep = []
        commit("forgotten_member", N, keep)
        expect(f"{commit.__name__} forgotten_member, holders", len(keep), N)
        # An instance has two lists. Which of them does its tp_traverse show?
        lists = [sum(1 for o in gc.get_referents(holder) if type(o) is list) for holder in keep]
        expect(f"{commit.__name__} forgotten_member, lists visited", set(lists), {2 if visible else 1})
    yield "forgotten_member"


def check_lost_malloc():
    expect("twin lost_malloc", slope(seeded.malloc_in_use, seeded.twin, "lost_malloc"), 0)
    lost = slope(seeded.malloc_in_use, seeded.bug, "lost_malloc")
    if not 1237 <= lost < 1400:
        wrong.append(f"bug lost_malloc: {lost} bytes each, not 1237 and a little")
    yield "lost_malloc"


checked = []
for check in (
    check_leaked_blocks, check_surplus, check_forgotten_type, check_over_released, check_over_released_type, check_cycles,
    check_forgotten_member, check_lost_malloc,
):
    checked.extend(check())
check_leaked_tracked()
expect("the bugs that were checked", sorted(checked), sorted(seeded.names()))
print("\n".join(wrong) if wrong else f"all {len(checked)} bugs are real, and their twins clean")
