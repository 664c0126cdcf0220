"""Check an installation: ``mpirun -n 4 python -m lstmcore.distributed``.

Rank 0 prints who takes part, whether their versions and processors give the same bits, and how long
exchanges take.
"""

import argparse
import sys
import time
from collections.abc import Callable

import numpy as np

from lstmcore.distributed.digests import platform
from lstmcore.distributed.gradients import GradientSum
from lstmcore.distributed.group import Group
from lstmcore.distributed.mpi import MPI, share_of_threads
from lstmcore.distributed.tree import block
from lstmcore.layers.initializers import get
from lstmcore.layers.parameters import Parameters, WeightSpec

PARAMETERS = 2**20
ROUNDS = 20


def main(arguments: list[str]) -> int:
    """Print what `Group` and `GradientSum` find; return 1 if the processes do not fit together.

    Parameters
    ----------
    arguments : list of str
        Optionally the number of parameters whose gradients are exchanged.
    """
    parser = argparse.ArgumentParser(
        prog="mpirun -n 4 python -m lstmcore.distributed",
        description="Print who takes part, whether all give the same bits, and how fast exchanges "
        "are.",
    )
    parser.add_argument(
        "parameters",
        nargs="?",
        type=_count,
        default=PARAMETERS,
        help=f"how many gradients of 4 bytes are exchanged (default: {PARAMETERS:,})",
    )
    count = parser.parse_args(arguments).parameters
    options = MPI()
    group = Group(options._open(), options.timeout)
    try:
        group.meet()
        fits = _show_members(group)
        small = _median(lambda: group.share(None, "a round"), group)
        _say(group, f"small exchange     {small * 1e6:9.0f} us")
        seconds = _median(_exchange(group, count), group)
        size = 2 * 4 * count * (group.size - 1) / group.size
        rate = f", {size / seconds / 1e9:.2f} GB/s of each process" if group.size > 1 else ""
        _say(group, f"{count:,} gradients {seconds * 1e3:9.2f} ms{rate}")
    except BaseException as error:
        group.leave(error)
        raise
    group.communicator.close()
    return 0 if fits else 1


def _count(text: str) -> int:
    """Read a number of parameters."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"expected an integer of at least 1, got {text!r}")
    return int(text)


def _show_members(group: Group) -> bool:
    """Print every process; return whether all have the same versions and instruction sets."""
    own = platform()
    every = group.share((own, share_of_threads(group)), "versions")
    fits = True
    _say(group, f"{group.size} processes, lstmcore {own['version of lstmcore']}")
    for rank, (theirs, threads) in enumerate(every):
        others = [name for name, value in theirs.items() if value != every[0][0][name]]
        note = f"; other {', '.join(others)} than rank 0" if others else ""
        isa = theirs["instruction set"]
        _say(group, f"{group.name(rank)}: {isa}, {threads} threads{note}")
        fits = fits and not others
    if not fits:
        _say(group, "fit refuses processes that differ, since their bits would")
    return fits


def _exchange(group: Group, count: int) -> Callable[[], object]:
    """Return a call that sums gradients of one shard per process."""
    spec = WeightSpec("weight", (count,), get("zeros", "initializer"))
    parameters = Parameters({"weight": spec}, np.dtype(np.float32))
    total = GradientSum(group, group.size, parameters)
    assert len(block(group.size, group.rank, group.size)) == 1
    return lambda: total.run(lambda shard: True, "a round")


def _median(call: Callable[[], object], group: Group) -> float:
    """Return the median time of a call, the longest of all processes."""
    times = []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return float(max(group.share(float(np.median(times)), "times")))


def _say(group: Group, line: str) -> None:
    if group.rank == 0:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
