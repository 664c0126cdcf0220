"""A run as tables for the terminal and for the documentation, and as pictures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench import company, pictures
from bench.claims import claims, expected_memory
from bench.environments import OWN, is_own
from bench.grids import OPTIONS
from bench.results import Measurement, Run, disagreements
from bench.shapes import DIRECTIONS, Case
from bench.statistics import median

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Rows = list[list[str]]


def duration(seconds: float) -> str:
    """Return a time as text, with three digits in a suitable unit."""
    for factor, unit in ((1.0, "s"), (1e3, "ms"), (1e6, "us")):
        if seconds * factor >= 1 or unit == "us":
            value = seconds * factor
            digits = 0 if value >= 99.5 else 1 if value >= 9.95 else 2 if value >= 0.995 else 3
            return f"{value:.{digits}f} {unit}"
    raise AssertionError


def case_line(run: Run, case: Case) -> str:
    """Return one case as a line for the terminal."""
    parts = [f"{case.shape.name} {case.direction} {case.dtype} {case.threads}t:"]
    for measurement in run.of_case(case.key):
        if measurement.timed:
            text = f"{measurement.peer} {duration(measurement.median)} +-{measurement.spread:.0%}"
            share = _shown_share(run, measurement)
            if is_own(measurement.peer) and share is not None:
                text += f" ({share:.0%} of FMA)"
            parts.append(text)
        elif measurement.status == "failed":
            parts.append(f"{measurement.peer} FAILED: {measurement.why}")
    ratio = run.ratio(case)
    if ratio is not None:
        parts.append(f"= {ratio:.2f} x best peer")
    wrong = disagreements(run.of_case(case.key))
    if wrong:
        parts.append(f"RESULTS DIFFER: {', '.join(wrong)}")
    return "  ".join(parts)


def _shown_share(run: Run, measurement: Measurement) -> float | None:
    """Return the share of the limit, if products are most of the work."""
    return run.share(measurement) if measurement.case.shape.kind in ("lstm", "cell") else None


def _cell(measurement: Measurement | None, best: bool) -> str:
    if measurement is None:
        return ""
    if not measurement.timed:
        return {"absent": "absent", "unsupported": "-"}.get(measurement.status, measurement.status)
    text = duration(measurement.median)
    return f"**{text}**" if best else text


def times(run: Run, direction: str, threads: int) -> Rows:
    """Return a table of medians: a row for each case, a column for each peer."""
    cases = [c for c in run.cases() if (c.direction, c.threads) == (direction, threads)]
    measured = {m.peer for case in cases for m in run.of_case(case.key)}
    peers = [name for name in run.peers() if name in measured and "@" not in name]
    head = ["T x N x C x H", "", *peers, "spread", "of FMA limit", "x best peer", "at the limits"]
    table: Rows = [head]
    for case in cases:
        found = {m.peer: m for m in run.of_case(case.key)}
        timed = [m.median for m in found.values() if m.timed and "@" not in m.peer]
        own = found.get(OWN)
        share = _shown_share(run, own) if own and own.timed else None
        ratio = run.ratio(case)
        row = [case.shape.describe(), case.shape.name]
        row[1] += ", float64" if case.dtype == "float64" else ""
        for name in peers:
            m = found.get(name)
            row.append(_cell(m, bool(m and m.timed and m.median == min(timed))))
        row.append(f"{own.spread:.1%}" if own and own.timed else "")
        row.append(f"{share:.1%}" if share is not None else "")
        row.append(f"{ratio:.2f}" if ratio is not None else "")
        best, shortest = run.best_peer(case), run.shortest(case)
        row.append(f"{best.median / shortest:.2f}" if best and shortest else "")
        table.append(row)
    return table if len(table) > 1 else []


def limits(run: Run) -> Rows:
    """Return the machine's limits: a row for each, a column for each thread count."""
    entries = run.limits.get("fma", [])
    counts = sorted({entry["threads"] for entry in entries})
    table: Rows = [["limit", *(f"{count} thread{'s' * (count > 1)}" for count in counts)]]
    rows: dict[str, dict[int, str]] = {}
    for entry in entries:
        name = f"FMA {entry['isa']} {entry['dtype']}"
        rows.setdefault(name, {})[entry["threads"]] = f"{entry['gflops']:.0f} GF/s"
    for entry in run.limits.get("read", []):
        name = f"read {entry['level']}"
        rows.setdefault(name, {})[entry["threads"]] = f"{entry['gigabytes']:.0f} GB/s"
    for name, figures in rows.items():
        table.append([name, *(figures.get(count, "") for count in counts)])
    return table if rows else []


def shares(run: Run) -> Rows:
    """Return lstmcore's share of the limit, for every instruction set that was run."""
    table: Rows = [["T x N x C x H", "", "instruction set", "threads", "GF/s", "of FMA limit"]]
    for m in run.measurements:
        share = run.share(m) if m.timed and is_own(m.peer) and m.case.shape.share else None
        if share is not None:
            what = f"{m.case.direction} {m.case.dtype}"
            row = [m.case.shape.describe(), what, run.isa(m.peer), str(m.case.threads)]
            table.append([*row, f"{m.gflops:.0f}", f"{share:.1%}"])
    return table if len(table) > 1 else []


def stream(run: Run) -> Rows:
    """Return the latency of a step called from C++."""
    table: Rows = [["input", "H", "layers", "dtype", "microseconds a step", "quartiles"]]
    for entry in run.stream.get("steps", []):
        figures = [f"{entry['median']:.3f}", f"{entry['q1']:.3f} - {entry['q3']:.3f}"]
        sizes = [str(entry[name]) for name in ("inputs", "hidden")]
        table.append([*sizes, str(entry.get("layers", 1)), entry["dtype"], *figures])
    return table if len(table) > 1 else []


def memory(run: Run) -> Rows:
    """Return by how much one training step increases the resident memory."""
    table: Rows = [["T x N x C x H", "dtype", "threads", "peer", "MB added", "formula, MB"]]
    for m in run.measurements:
        if m.memory is not None:
            formula = f"{expected_memory(run, m.case) / 1e6:.1f}" if m.peer == OWN else ""
            row = [m.case.shape.describe(), m.case.dtype, str(m.case.threads), m.peer]
            table.append([*row, f"{m.memory / 1e6:.1f}", formula])
    return table if len(table) > 1 else []


def options(run: Run) -> Rows:
    """Return the cost of each option relative to the plain cell."""
    table: Rows = [["option", *(f"{direction}, times plain" for direction in DIRECTIONS), "limit"]]
    most = max((case.threads for case in run.cases()), default=1)
    for shape in OPTIONS:
        row = [shape.name.removeprefix("option-")]
        for direction in DIRECTIONS:
            own = run.find(OWN, shape.name, direction, "float32", most)
            factor = own.facts.get("times plain") if own else None
            row.append(f"{factor:.2f}" if factor is not None else "")
        if any(row[1:]):
            table.append([*row, f"{shape.cost:.3g}"])
    return table if len(table) > 1 else []


def precisions(run: Run) -> Rows:
    """Return the times of each precision, one column each, with the errors below."""
    cases = [case for case in run.cases() if case.shape.precisions]
    measured = {m.peer for case in cases for m in run.of_case(case.key) if m.timed}
    peers = sorted(measured, key=lambda peer: (not is_own(peer), run.peers().index(peer)))
    table: Rows = [["T x N x C x H", "", "threads", "", *peers]]
    for case in cases:
        found = {m.peer: m for m in run.of_case(case.key) if m.timed}
        head = [case.shape.describe(), case.direction, str(case.threads)]
        times, errors = [*head, "time"], ["", "", "", "error"]
        for peer in peers:
            error = found[peer].facts.get("error") if peer in found else None
            times.append(duration(found[peer].median) if peer in found else "")
            errors.append(f"{error:.1e}" if error is not None else "")
        table += [times, errors]
    return table if len(table) > 1 else []


def in_company(run: Run) -> Rows:
    """Return the ratios of times beside other work over times alone, and of speeds."""
    found = {entry["name"]: entry for entry in run.company}
    table: Rows = [["what", "ratio", "quartiles", "goal"]]
    for goal in company.GOALS:
        if goal.name not in found:
            continue
        entry = found[goal.name]
        figures = [entry["why"] or "failed", ""]
        if entry["ratio"] is not None:
            figures = [f"{entry['ratio']:.2f}", f"{entry['low']:.2f} - {entry['high']:.2f}"]
        bound = f"{'at most' if goal.most else 'at least'} {goal.bound:.3g}"
        table.append([goal.text, *figures, bound])
    return table if len(table) > 1 else []


def claim_table(run: Run) -> Rows:
    """Return the goals with their verdicts."""
    most = max((case.threads for case in run.cases()), default=1)
    table: Rows = [["goal", "measured", ""]]
    found = [
        claim for claim in claims(run, most) if claim.measured
    ]  # goals without a figure belong to other grids
    table += [[claim.goal, claim.measured, claim.verdict] for claim in found]
    return table


def markdown(table: Rows) -> str:
    """Return a table as Markdown."""
    if not table:
        return ""
    head, *body = table
    lines = [head, ["---"] * len(head), *body]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def plain(table: Rows) -> str:
    """Return a table with aligned columns."""
    table = [[cell.replace("**", "") for cell in row] for row in table]
    widths = [max(len(cell) for cell in column) for column in zip(*table, strict=True)]
    lines = []
    for row in table:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines) + "\n" if lines else ""


def sections(run: Run) -> list[tuple[str, Rows]]:
    """Return every table that has rows, with its title."""
    result: list[tuple[str, Rows]] = []
    for threads in sorted({case.threads for case in run.cases()}, reverse=True):
        for direction in DIRECTIONS:
            noun = f"{threads} thread{'s' * (threads > 1)}"
            title = f"{direction.capitalize()}, {noun}, time of a call"
            result.append((title, times(run, direction, threads)))
    result.append(("Share of the limit by instruction set", shares(run)))
    result.append(("What options cost", options(run)))
    result.append(("One step of a stream from C++", stream(run)))
    result.append(("In company", in_company(run)))
    result.append(("Memory of one training step", memory(run)))
    result.append(("The machine's limits", limits(run)))
    result.append(("Precisions", precisions(run)))
    result.append(("Goals", claim_table(run)))
    return [(title, table) for title, table in result if table]


def preamble(run: Run) -> list[str]:
    """Return what a reader must know about the run."""
    machine = run.machine
    versions = {
        name: version
        for found in run.versions.values()
        for name, version in found.items()
        if name != "isa"
    }
    lines = [
        f"{machine.get('processor')}, {machine.get('cores')} cores, {machine.get('system')}, "
        f"{machine.get('date')}; lstmcore on {run.isa()}.",
        ", ".join(f"{name} {version}" for name, version in sorted(versions.items())) + ".",
        f"Medians of {run.settings.get('repeats')} turns.",
    ]
    if "minutes" in run.settings:
        lines[-1] += f" The run took {run.settings['minutes']:.0f} minutes."
    if run.foreign:
        busy = f"Other processes took {median(run.foreign):.1%} of a core during a turn (median)"
        lines.append(f"{busy}, {max(run.foreign):.0%} at most.")
    lines += _held(run)
    absent = sorted({f"{m.peer} ({m.why})" for m in run.measurements if m.status == "absent"})
    if absent:
        lines.append("Absent: " + ", ".join(absent) + ".")
    return lines


def _held(run: Run) -> list[str]:
    """Return which peers were held to an instruction set, and what was seen."""
    if not run.held:
        return []
    isa = run.settings.get("peers_isa")
    kept = [name for name, seen in run.held.items() if not seen["avx512"]]
    turns = sum(run.held[name]["turns"] - run.held[name]["unknown"] for name in kept)
    lines = [f"Held to {isa}: {', '.join(kept)}; no AVX-512 was seen in {turns} turns."]
    unknown = sorted(name for name, seen in run.held.items() if seen["unknown"])
    if unknown:
        lines.append(f"Not verified, since the system does not say: {', '.join(unknown)}.")
    broke = sorted(name for name, seen in run.held.items() if seen["avx512"])
    if broke:
        lines.append(f"Left out where they used AVX-512 all the same: {', '.join(broke)}.")
    return lines


def terminal(run: Run) -> str:
    """Return the whole report for the terminal."""
    parts = ["\n".join(preamble(run)) + "\n"]
    parts += [f"{title}\n\n{plain(table)}" for title, table in sections(run)]
    return "\n".join(parts)


def _ratio_bars(run: Run, direction: str, threads: int) -> Figure | None:
    rows = []
    for case in run.cases():
        ratio, best = run.ratio(case), run.best_peer(case)
        if (case.direction, case.threads) == (direction, threads) and ratio and best:
            label = case.shape.name + (" float64" if case.dtype == "float64" else "")
            rows.append(
                pictures.Bar(
                    label, ratio, f"\N{MULTIPLICATION SIGN} {best.peer}, {duration(best.median)}"
                )
            )
    if not rows:
        return None
    noun = f"{threads} thread{'s' * (threads > 1)}"
    title = f"Speed as a multiple of the best peer's: {direction}, {noun}"
    return pictures.bars(title, rows, 1.0, "best peer")


def _roofline(run: Run, threads: int) -> Figure | None:
    peak = run.limit(run.isa(), "float32", threads)
    found = [m for m in run.measurements if m.timed and m.case.shape.cell and "@" not in m.peer]
    found = [m for m in found if (m.case.dtype, m.case.threads) == ("float32", threads)]
    if peak is None or not found:
        return None
    points = [
        pictures.Point(m.case.flops / m.case.bytes, m.gflops, m.peer)
        for m in sorted(found, key=lambda m: is_own(m.peer))
    ]
    reads = [e for e in run.limits.get("read", []) if e["threads"] == threads]
    bandwidths = [(str(e["level"]), float(e["gigabytes"])) for e in reads]
    noun = f"{threads} thread{'s' * (threads > 1)}"
    return pictures.roofline(f"One layer, float32, {noun}", points, peak, bandwidths)


def _precision_bars(run: Run, direction: str, threads: int) -> Figure | None:
    rows = []
    for case in run.cases():
        if not case.shape.precisions or (case.direction, case.threads) != (direction, threads):
            continue
        best = run.best_peer(case)
        if best is None:
            continue
        for m in (m for m in run.of_case(case.key) if m.timed):
            error = m.facts.get("error")
            exact = f", error {error:.0e}" if error is not None else ""
            label = f"{case.shape.name.removeprefix('precision-')} {m.peer}"
            note = f"\N{MULTIPLICATION SIGN}{exact}"
            rows.append(pictures.Bar(label, best.median / m.median, note, is_own(m.peer)))
    if not rows:
        return None
    noun = f"{threads} thread{'s' * (threads > 1)}"
    title = (
        f"Speed as a multiple of the best float32 peer's, and largest error: {direction}, {noun}"
    )
    return pictures.bars(title, rows, 1.0, "best float32 peer")


def drawn(run: Run) -> Iterable[tuple[str, Figure]]:
    """Yield the name and figure of each picture that the run has data for."""
    for threads in sorted({case.threads for case in run.cases()}, reverse=True):
        for direction in DIRECTIONS:
            picture = _ratio_bars(run, direction, threads)
            if picture:
                yield f"ratio-{direction}-{threads}.svg", picture
            picture = _precision_bars(run, direction, threads)
            if picture:
                yield f"precision-{direction}-{threads}.svg", picture
        picture = _roofline(run, threads)
        if picture:
            yield f"roofline-{threads}.svg", picture


def write(run: Run, folder: Path) -> Sequence[Path]:
    """Write tables.md and the pictures into `folder`; return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    figures = dict(drawn(run))
    parts = ["# Measurements\n", "\n".join(preamble(run)) + "\n"]
    parts += [f"![{name.removesuffix('.svg')}]({name})\n" for name in figures]
    parts += [f"## {title}\n\n{markdown(table)}" for title, table in sections(run)]
    written = [folder / "tables.md"]
    written[0].write_text("\n".join(parts))
    for name, figure in figures.items():
        pictures.save(figure, folder / name)
        written.append(folder / name)
    return written
