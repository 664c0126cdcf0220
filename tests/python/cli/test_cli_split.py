"""How the command line reads, splits and counts many classes or series."""

import sys
import tracemalloc

import numpy as np
import pytest

from lstmcore.cli.layout import Layout
from lstmcore.cli.samples import read_samples
from lstmcore.cli.scores import class_table
from lstmcore.cli.split import _draw
from lstmcore.cli.tables import Table


def drawn_class_by_class(rest, strata, wanted):
    """Do the same as `_draw`, with a loop over the classes."""
    order = rest[np.argsort(strata[rest], kind="stable")]
    taken = set()
    for number in range(wanted):
        place = int((number + 0.5) * len(order) / wanted)
        if place < len(order):
            taken.add(place)
    for stratum in set(strata[order].tolist()):
        own = [place for place in range(len(order)) if strata[order[place]] == stratum]
        if taken.issuperset(own):
            taken.remove(own[0])
    left = [order[place] for place in range(len(order)) if place not in taken]
    return left, sorted(order[place] for place in taken)


@pytest.mark.parametrize("wanted", [0, 1, 7, 30, 39, 40])
@pytest.mark.parametrize("classes", [1, 2, 5, 25, 40])
def test_the_last_sample_of_each_class_stays(classes, wanted):
    rng = np.random.default_rng(classes)
    strata = rng.integers(classes, size=60) * 3  # numbers need not be consecutive
    rest = rng.permutation(60)[:40]
    found = _draw(rest, strata, wanted)
    left, taken = drawn_class_by_class(rest, strata, wanted)
    assert found[0].tolist() == left
    assert found[1].tolist() == taken
    assert set(strata[found[0]]) == set(strata[rest])


def test_nothing_is_drawn_from_an_empty_set():
    left, taken = _draw(np.arange(0), np.zeros(0, np.int64), 0)
    assert (len(left), len(taken)) == (0, 0)


def calls(function, *arguments):
    """Count the calls that `function` makes, including calls of C functions."""
    count = 0

    def note(frame, event, argument):
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        function(*arguments)
    finally:
        sys.setprofile(None)
    return count


def test_many_classes_are_drawn_from_in_one_pass():
    rest = np.arange(3000)
    assert calls(_draw, rest, rest // 2, 300) == calls(_draw, rest, rest // 1000, 300)


def test_many_classes_are_counted_without_a_table_of_all_pairs():
    count = 5000
    labels = np.arange(count)
    names = [str(label) for label in labels]
    tracemalloc.start()
    try:
        found = class_table(labels, np.zeros_like(labels), names)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < count * 1000  # bytes; a table of all pairs takes 8 * count**2
    assert found["0"] == {"precision": 1 / count, "recall": 1.0, "f1": 2 / (count + 1), "count": 1}
    assert found["1"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "count": 1}


def test_columns_are_read_once_for_many_series(monkeypatch):
    rows = [[f"s{number}", str(step), str(number)] for number in range(20) for step in range(6)]
    columns = [list(column) for column in zip(*rows, strict=True)]
    table = Table("data.csv", ["id", "sales", "price"], columns, list(range(2, 122)))
    layout = Layout(
        "series",
        "sales",
        key="id",
        features=("price",),
        means=(1.0,),
        scales=(2.0,),
        window=3,
        horizon=2,
    )
    read = []
    numbers = Table.numbers
    monkeypatch.setattr(
        Table, "numbers", lambda table, name: read.append(name) or numbers(table, name)
    )
    samples = read_samples(table, layout, None)
    assert sorted(read) == ["price", "sales"]
    assert len(samples) == 40
    for number in range(20):
        for start in (0, 1):
            place = 2 * number + start
            assert samples.targets[place].tolist() == [start + 3, start + 4]
            expected = [[step - 2, (number - 1) / 2] for step in range(3)]
            assert samples.x[place].tolist() == expected
