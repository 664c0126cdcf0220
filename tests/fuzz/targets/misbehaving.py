"""Targets that break each rule in turn, for the tests of the campaign itself."""

import os
import time

from targets.base import Target, deadly_inputs


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


class Remembering(Target):
    """Inputs of a round of ten know those before them; the fourth of a round is deadly."""

    name = "remembering"

    def prepare(self):
        self.deadly = deadly_inputs()
        self.known = []

    def begins(self, number):
        return number - number % 10

    def make(self, seed, number):
        return number

    def size(self, made):
        return 100

    def run(self, made):
        if self.begins(made) == made:
            self.known.clear()
        if made in self.deadly:
            return
        if made % 10 == 3:
            os.abort()
        self.known.append(made)
        if made % 10 == 5:
            raise KeyError(self.known)

    def save(self, made, path):
        path.write_text(str(made))


TARGETS = {target.name: target for target in (Misbehaving, Remembering)}
