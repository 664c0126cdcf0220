"""Do peers keep to an instruction set? Times each free and held, and notes its use of AVX-512."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from bench import grids, report
from bench.controller import Peer, asked_peers, available_cores, peers_of
from bench.instruction_sets import HELD, Watch
from bench.settings import Settings
from bench.shapes import DIRECTIONS, Case


def main(arguments: Sequence[str]) -> int:
    """Print, for every peer, the time of a call and whether it used AVX-512, free and held.

    It needs a processor with AVX-512 and a Linux kernel that notes its use; elsewhere the column
    says "?".
    """
    parser = argparse.ArgumentParser(prog="python -m bench held", description=main.__doc__)
    add = parser.add_argument
    add("--peers", type=lambda text: text.split(","), help="peers beside lstmcore (default: all)")
    add("--grid", default="100x1x128x256,100x32x128x128", help="names of shapes")
    add("--peers-isa", default="avx2", choices=HELD)
    add("--seconds", type=float, default=0.5, help="for each figure")
    options = parser.parse_args(arguments)
    try:
        names = [name for name in asked_peers(options.peers) if "@" not in name]
        chosen = grids.select(options.grid)
    except ValueError as error:
        parser.error(str(error))
    cases = grids.Choice((1,), DIRECTIONS, ["float32"]).cases(chosen)
    table = [["peer", "shape", "", "free", "AVX-512", f"held to {options.peers_isa}", "AVX-512"]]
    held = Settings(isa=options.peers_isa, peers_isa=options.peers_isa)
    for name in names:
        figures = [_figures(name, cases, how, options.seconds) for how in (Settings(), held)]
        for case in cases:
            if case.key in figures[0] and case.key in figures[1]:
                row = [name, case.shape.name, case.direction]
                table.append([*row, *figures[0][case.key], *figures[1][case.key]])
    print(report.plain(table), end="")
    return 0


def _figures(
    name: str, cases: Sequence[Case], settings: Settings, seconds: float
) -> dict[str, tuple[str, str]]:
    """Return, by case, the time of a call and whether AVX-512 was used."""
    found = {}
    with Peer(name, 1, available_cores()[:1], settings) as peer:
        for case in cases:
            if peer.absent or name not in peers_of(case, [name], ""):
                continue
            peer.ask(do="prepare", case=case.to_json())
            watch = Watch.start(peer.pid)
            answer = peer.ask(do="warm", seconds=seconds)
            used = {True: "used", False: "-", None: "?"}[watch.saw_avx512()]
            if "seconds" in answer:
                found[case.key] = (report.duration(answer["seconds"]), used)
    return found
