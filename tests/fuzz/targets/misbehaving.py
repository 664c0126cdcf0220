"""A target that breaks each rule in turn, for the tests of the campaign itself."""

import os
import time

from targets.base import Target


class Misbehaving(Target):
    """Inputs are numbers; each stands for what it does."""

    name = "misbehaving"
    kinds = ("nothing", "ValueError", "KeyError", "memory", "MemoryError", "slow", "hang", "death")

    def make(self, seed, number):
        return self.kinds[number % len(self.kinds)]

    def size(self, made):
        return 100

    def run(self, made):
        if made == "ValueError":
            raise ValueError(made)
        if made == "KeyError":
            raise KeyError(made)
        if made == "MemoryError":
            raise MemoryError(made)
        if made == "memory":
            bytearray(200 << 20)
        if made == "slow":
            while True:
                pass
        if made == "hang":
            time.sleep(600)
        if made == "death":
            os.abort()

    def save(self, made, path):
        path.write_text(made)


TARGETS = {Misbehaving.name: Misbehaving}
