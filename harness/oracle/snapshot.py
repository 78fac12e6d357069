"""A program under the shim, its snapshot held still, and the snapshot's memory.

The shim writes its census (GCSHIM_CENSUS) into a named pipe of one page. Once the first line is read, the process that counted waits for
room to write the next ones, so its memory, all of which is the program's at the moment of the audit, can be read at leisure. Nothing
has to be stopped, and nothing has to be guessed: what is read is what was counted.
"""

import array
import bisect
import fcntl
import json
import os
import select
import subprocess
import tempfile

# The least a pipe can hold.
PAGE = 4096
# <linux/fcntl.h>; the module `fcntl` names it since Python 3.10.
F_SETPIPE_SZ = 1031


class Snapshot:
    """The census's first line, the memory, and after `rest` the census itself."""

    def __init__(self, command, environment):
        self.folder = tempfile.TemporaryDirectory()
        path = os.path.join(self.folder.name, "census")
        os.mkfifo(path)
        # Open before the program is, so that the size is set when it writes: of the lines after the first hardly any fit.
        self.pipe = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        fcntl.fcntl(self.pipe, F_SETPIPE_SZ, PAGE)
        self.errors = tempfile.TemporaryFile()
        environment = dict(environment, GCSHIM_CENSUS=path, GCSHIM_DEADLINE="3600")
        self.program = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stderr=self.errors)
        self.read = bytearray()
        while b"\n" not in self.read:
            if not self.read_more():
                raise self.failure("the census has no first line")
        first, _, self.read = self.read.partition(b"\n")
        self.head = json.loads(first)
        self.memory = Memory(self.head["snapshot"])

    def read_more(self):
        """Reads what has been written meanwhile. False if nothing will be any more."""
        poll = select.poll()
        poll.register(self.pipe, select.POLLIN)
        # Until somebody has opened the other end, the end of the program is not the pipe's.
        while not poll.poll(200):
            if self.program.poll() is not None:
                return False
        part = os.read(self.pipe, 1 << 16)
        self.read.extend(part)
        return bool(part)

    def failure(self, what):
        status = self.program.poll()
        self.errors.seek(0)
        said = self.errors.read().decode(errors="replace")
        return RuntimeError("%s (the program's status: %s)\n%s" % (what, status, said))

    def rest(self):
        """Lets the program go on, and answers the census's lines. To be called when all memory has been read."""
        while self.read_more():
            pass
        os.close(self.pipe)
        lines = self.read.decode().splitlines()
        if self.program.wait() != 0:
            raise self.failure("the program failed")
        return [json.loads(line) for line in lines]


class Memory:
    """A copy of all memory of a process that it can have written: pages that were never touched are zeros."""

    def __init__(self, pid):
        with open("/proc/%d/maps" % pid) as maps:
            self.maps = [Mapping(line) for line in maps]
        self.starts, self.parts = [], []
        mem = os.open("/proc/%d/mem" % pid, os.O_RDONLY)
        pages = os.open("/proc/%d/pagemap" % pid, os.O_RDONLY)
        for mapping in self.maps:
            if mapping.is_program_memory():
                for start, end in touched(pages, mapping.start, mapping.end):
                    self.starts.append(start)
                    self.parts.append(memoryview(copy(mem, start, end)))
        os.close(mem)
        os.close(pages)

    def words(self, start, end):
        """The words from start to end."""
        at = bisect.bisect_right(self.starts, start) - 1
        if at >= 0:
            part, first = self.parts[at], self.starts[at]
            if end <= first + 8 * len(part):
                return part[(start - first) // 8 : (end - first) // 8]
        # Untouched pages between: put together word by word, which is rare.
        return memoryview(array.array("Q", [self.word(address) for address in range(start, end, 8)]))

    def word(self, address):
        """The word at an address; 0 where nothing was ever written."""
        at = bisect.bisect_right(self.starts, address) - 1
        if at < 0:
            return 0
        index = (address - self.starts[at]) // 8
        return self.parts[at][index] if index < len(self.parts[at]) else 0

    def has(self, address):
        """Whether anything was written to the address's page."""
        at = bisect.bisect_right(self.starts, address) - 1
        return at >= 0 and address < self.starts[at] + 8 * len(self.parts[at])

    def text(self, address, limit=200):
        """The C string at an address that may lie in a read-only mapping, whose file has it then."""
        if self.has(address):
            start = address & ~7
            held = self.words(start, start + limit).tobytes()[address - start :]
        else:
            held = b""
            for mapping in self.maps:
                if mapping.start <= address < mapping.end and mapping.name.startswith("/"):
                    with open(mapping.name, "rb") as file:
                        file.seek(mapping.offset + address - mapping.start)
                        held = file.read(limit)
        return held.partition(b"\0")[0].decode(errors="replace")


def copy(mem, start, end):
    words = array.array("Q")
    while start < end:
        part = os.pread(mem, min(end - start, 1 << 26), start)
        if not part:
            raise OSError("no memory at %#x" % start)
        words.frombytes(part)
        start += len(part)
    return words


def touched(pages, start, end):
    """The stretches of pages that are present or swapped out (kernel, admin-guide/mm/pagemap: bits 63 and 62)."""
    entries = array.array("Q")
    entries.frombytes(os.pread(pages, (end - start) // PAGE * 8, start // PAGE * 8))
    opened = None
    for index, entry in enumerate(entries):
        if entry >> 62:
            if opened is None:
                opened = start + index * PAGE
        elif opened is not None:
            yield opened, start + index * PAGE
            opened = None
    if opened is not None:
        yield opened, end


class Mapping:
    """A line of /proc/PID/maps."""

    def __init__(self, line):
        extent, self.access, offset, _, _, *name = line.split(None, 5)
        self.start, self.end = (int(part, 16) for part in extent.split("-"))
        self.offset = int(offset, 16)
        self.name = name[0].strip() if name else ""

    def is_program_memory(self):
        """Private and no code: whatever the program can have written is among it."""
        kernels = ("[vvar]", "[vdso]", "[vvar_vclock]", "[vsyscall]")
        return self.access.startswith("r") and "x" not in self.access and "p" in self.access and self.name not in kernels
