"""Runs inputs, one after the other, in a process that they may end.

`python child.py TARGET SEED FIRST` makes the inputs number FIRST and on, and runs each. It writes
one line of JSON for every find, and writes the number of the input that it is at into the file
PROGRESS (environment), which the parent reads.
"""

import gc
import json
import mmap
import os
import struct
import sys
import traceback

import rules
import targets

RECORD = "<q"  # number of the input; -1: none yet


class Progress:
    """Where the parent sees which input is running, even if this process dies."""

    def __init__(self, path):
        with open(path, "r+b") as file:
            self._map = mmap.mmap(file.fileno(), struct.calcsize(RECORD))

    def note(self, number):
        struct.pack_into(RECORD, self._map, 0, number)

    def read(self):
        return struct.unpack_from(RECORD, self._map, 0)[0]


def verdict(target, made, memory):
    """Run one input; return None, or the rule that it broke and a text for people."""
    memory.begin()
    try:
        rules.interrupt_after(rules.SECONDS)
        try:
            broken = target.run(made)
        finally:
            rules.interrupt_after(0)
    except rules.TooLong:
        said = f"over {rules.SECONDS} s: {target.told(made)}"
        return None if target.asks_for_much(made) else ("time", said)
    except MemoryError as error:
        much = target.asks_for_much(made)
        return None if much else (f"MemoryError at {rules.place_of(error)}", str(error))
    except Exception as error:
        if rules.allowed(error, target.documented(made)):
            broken = None
        else:
            name = f"{type(error).__name__} at {rules.place_of(error)}"
            return name, "".join(traceback.format_exception(error)[-6:])
    if broken:
        return broken
    peak, most = memory.peak(), rules.most_bytes(target.size(made))
    if peak > most and not target.asks_for_much(made):
        size = target.size(made)
        return "memory", f"{peak >> 20} MiB for {size} bytes: {target.told(made)}"
    return None


def main():
    sys.path[:] = [os.path.abspath(entry) for entry in sys.path]  # targets change the folder
    name, seed, first = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    progress = Progress(os.environ["PROGRESS"])
    channel = os.fdopen(os.dup(1), "w")  # what inputs print must not get there
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    target = targets.by_name(name)
    target.prepare()
    rules.install()
    memory = rules.Memory()
    print(json.dumps({"ready": True}), file=channel, flush=True)
    for number in range(first, sys.maxsize):
        made = target.make(seed, number)
        progress.note(number)
        broken = verdict(target, made, memory)
        if broken:
            line = {"number": number, "rule": broken[0], "text": broken[1][-3000:]}
            print(json.dumps(line), file=channel, flush=True)
        progress.note(number + 1)
        if number % 64 == 0:
            target.tidy()
            gc.collect()


if __name__ == "__main__":
    main()
