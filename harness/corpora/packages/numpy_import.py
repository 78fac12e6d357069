"""numpy's import, and nothing else: what it leaks, it leaks on purpose or once. Counts from numpy's own tables how many loops it leaks (`told`)."""
import collections
import ctypes
import gc
import sys

sys.path.pop(0)  # this folder: its files are named after the packages they use
import numpy  # noqa: E402


class UFunc(ctypes.Structure):
    """PyUFuncObject (numpy/ufuncobject.h, 1.22 to 2.x), as far as its list of loops."""

    _fields_ = [("header", ctypes.c_char * object.__basicsize__), ("nin_nout_nargs_identity", ctypes.c_int * 4), ("functions_data", ctypes.c_void_p * 2),
                ("ntypes_reserved", ctypes.c_int * 2), ("name_to_userloops", ctypes.c_void_p * 6), ("core_enabled_num_dim", ctypes.c_int * 2),
                ("core_dims_to_op_flags", ctypes.c_void_p * 9), ("iter_flags", ctypes.c_int),
                ("core_sizes_to_dispatch_cache", ctypes.c_void_p * 4), ("loops", ctypes.py_object)]


def count(address):
    return ctypes.c_ssize_t.from_address(address).value


def ufuncs():
    found = [v for m in list(sys.modules.values()) if m.__name__.startswith("numpy") for v in vars(m).values()] + gc.get_objects()
    return list({id(u): u for u in found if type(u) is numpy.ufunc}.values())


def surplus_of_loops():
    """References to the pairs in the lists of loops that no list has: nothing else owns one (the dispatch cache borrows them)."""
    listed = collections.Counter(id(pair) for u in ufuncs() for pair in UFunc.from_address(id(u)).loops)
    return sum(count(pair) - n for pair, n in listed.items())


if sys.version_info >= (3, 9):  # the numpy of 3.8 is made with Cython 0.29, which leaks two tuples of names besides
    print("told leaked-reference tuple", surplus_of_loops())
print(numpy.__version__)
