#!/usr/bin/env python3
"""What a service takes whose extension leaks (harness/example/service.py), after each tenth of a million requests: with glibc's malloc, and with the modes of the shim.

    harness/bench/python/leaking_service.py [--python PYTHON] [--library LIB] [--requests 1000000]

Prints resident MiB per column, the CPU seconds, and how many weak references were called back.
"""
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))

import measuring  # noqa: E402

EXAMPLE = os.path.join(measuring.ROOT, "harness", "example")


def build(python, folder):
    include = subprocess.check_output([python, "-c", "import sysconfig; print(sysconfig.get_paths()['include'])"], text=True).strip()
    command = [os.environ.get("CC", "cc"), "-O2", "-shared", "-fPIC", f"-I{include}", os.path.join(EXAMPLE, "leaky.c")]
    subprocess.run([*command, "-o", os.path.join(folder, "leaky.so")], check=True)


def serve(python, folder, requests, variables):
    """Resident MiB after each tenth, the last line, CPU seconds."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("GCSHIM_", "PYTHON", "LD_"))}
    environment.update(variables, PYTHONPATH=folder)
    before = os.times()
    done = subprocess.run([python, os.path.join(EXAMPLE, "service.py"), str(requests)], env=environment, check=True, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    after = os.times()
    lines = done.stdout.splitlines()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return [int(line.split()[3]) for line in lines[:-1]], lines[-1], cpu


def main():
    parser = measuring.parser(__doc__)
    parser.add_argument("--requests", type=int, default=1000000)
    options = measuring.options_of(parser)
    preload = {"LD_PRELOAD": options.library, "GCSHIM_AUDIT": "never"}
    columns = {"glibc": {"PYTHONMALLOC": "malloc"}} | {f"gcshim {mode}": preload | {"GCSHIM_MODE": mode} for mode in ("audit", "collect")}
    with tempfile.TemporaryDirectory() as folder:
        build(options.python, folder)
        print("| | " + " | ".join(f"{part}0 %" for part in range(1, 11)) + " | CPU, s | |")
        print("|---" * 13 + "|", flush=True)
        for name, variables in columns.items():
            mib, last, cpu = serve(options.python, folder, options.requests, variables)
            print(f"| {name} | " + " | ".join(map(str, mib)) + f" | {cpu:.1f} | {last} |", flush=True)


if __name__ == "__main__":
    main()
