"""Split samples into those to train on, those that choose the epoch, and those held out."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from lstmcore._typing import Array
from lstmcore.cli.layout import Layout
from lstmcore.cli.report import counted
from lstmcore.cli.samples import UNITS, Samples, read_samples
from lstmcore.cli.sequences import Group, groups_of, labels_of, mean_and_scale, standardized
from lstmcore.cli.tables import Table

__all__ = ["split"]

PARTS = ("train", "validation", "test")


def split(
    table: Table,
    layout: Layout,
    classes: Sequence[str] | None,
    validation: float,
    test: float,
    seed: int,
) -> tuple[Layout, dict[str, Samples]]:
    """Split a table into `PARTS`.

    The last two exist only if their share is above 0. Means and scales are computed only from
    the training part.

    Returns
    -------
    layout : Layout
        With means and scales.
    parts : dict of str to Samples

    Raises
    ------
    ValueError
        If there are too few samples.
    """
    groups = [] if layout.kind == "text" else groups_of(table, layout)
    if layout.kind == "series":
        layout, places = _by_time(table, layout, groups, validation, test)
    else:
        layout, places = _at_random(table, layout, classes, groups, (validation, test), seed)
    samples = read_samples(table, layout, classes)
    parts = {name: samples.take(places[name]) for name in PARTS if len(places[name])}
    return layout, parts


def _at_random(
    table: Table,
    layout: Layout,
    classes: Sequence[str] | None,
    groups: Sequence[Group],
    shares: tuple[float, float],
    seed: int,
) -> tuple[Layout, dict[str, Array]]:
    """Draw the parts at random, with each class in each part if it has enough samples."""
    count = len(groups) if groups else len(table)
    strata = np.zeros(count, dtype=np.int64)
    if classes is not None and not layout.per_step:
        labels = labels_of(table, layout, classes)
        strata = labels[[group.rows[0] for group in groups]] if groups else labels
    rest = np.random.default_rng(seed).permutation(count)
    parts: dict[str, Array] = {}
    for name, share in zip(("validation", "test"), shares, strict=True):
        wanted = max(1, round(share * count)) if share else 0
        rest, parts[name] = _draw(rest, strata, wanted)
    lacking = [
        name for name, share in zip(parts, shares, strict=True) if share and not len(parts[name])
    ]
    if len(rest) < 2 or lacking:
        raise ValueError(
            f"{table.source}: expected more {UNITS[layout.kind]}s, so that some of each class can "
            f"be held out, got {count}; --validation 0 and --test 0 train on all"
        )
    parts["train"] = np.sort(rest)
    rows = np.concatenate([groups[place].rows for place in rest]) if groups else rest
    layout = standardized(table, layout, rows)
    if classes is None:
        once = rows
        if groups and not layout.per_step:
            once = np.array([groups[place].rows[0] for place in rest])
        mean, scale = mean_and_scale(table.numbers(layout.target)[once])
        layout = replace(layout, target_mean=mean, target_scale=scale)
    return layout, parts


def _draw(rest: Array, strata: Array, wanted: int) -> tuple[Array, Array]:
    """Draw samples from `rest`, evenly over the strata; at least one of each stratum remains."""
    order = rest[np.argsort(strata[rest], kind="stable")]
    places = ((np.arange(wanted) + 0.5) * len(order) / max(wanted, 1)).astype(np.int64)
    taken = np.zeros(len(order), dtype=np.bool_)
    taken[places[places < len(order)]] = True
    begins = np.unique(strata[order], return_index=True)[1]
    whole = np.logical_and.reduceat(taken, begins)
    taken[begins[whole]] = False
    return order[~taken], np.sort(order[taken])


def _by_time(
    table: Table, layout: Layout, groups: Sequence[Group], validation: float, test: float
) -> tuple[Layout, dict[str, Array]]:
    """Split each series by time: its end is held out; the part before that chooses the epoch.

    No training window contains a value that another part forecasts.
    """
    parts: dict[str, list[int]] = {name: [] for name in PARTS}
    seen: list[Array] = []
    changes: list[Array] = []
    window, horizon = layout.window, layout.horizon
    values = table.numbers(layout.target)
    first = 0
    for group in groups:
        steps = len(group.rows)
        held_out = steps - round(test * steps)
        chooses = held_out - round(validation * steps)
        for start in range(max(steps - window - horizon + 1, 0)):
            begin, end = start + window, start + window + horizon
            if end <= chooses:
                parts["train"].append(first + start)
            elif begin >= held_out:
                parts["test"].append(first + start)
            elif begin >= chooses and end <= held_out:
                parts["validation"].append(first + start)
        first += max(steps - window - horizon + 1, 0)
        seen.append(group.rows[:chooses])
        own = values[group.rows[:chooses]]
        changes += [own[ahead:] - own[:-ahead] for ahead in range(1, horizon + 1)]
    wanted = {"train": 1.0, "validation": validation, "test": test}
    empty = [name for name, share in wanted.items() if share and not parts[name]]
    if empty:
        longest = max(len(group.rows) for group in groups)
        raise ValueError(
            f"{table.source}: expected series long enough for a window of {window} and a horizon "
            f"of {horizon} in each part, got no window for {', '.join(empty)} (the longest "
            f"has {counted(longest, 'row')}); lower --window or --horizon, "
            "or change --validation and --test"
        )
    layout = standardized(table, layout, np.concatenate(seen))
    spread = float(np.sqrt(np.mean(np.square(np.concatenate(changes)))))
    return (
        replace(layout, target_scale=spread or 1.0),
        {name: np.array(places, dtype=np.int64) for name, places in parts.items()},
    )
