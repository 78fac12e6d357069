"""numpy's import, and nothing else: what it leaks, it leaks on purpose or once."""
import sys

sys.path.pop(0)  # this folder: its files are named after the packages they use
import numpy  # noqa: E402

print(numpy.__version__)
