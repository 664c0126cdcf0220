"""The order of sums: the same for every number of processes."""

from itertools import pairwise

import numpy as np
import pytest

from distributed_kit import results
from lstmcore.distributed.communicator import Alone
from lstmcore.distributed.gradients import GradientSum
from lstmcore.distributed.group import Group
from lstmcore.distributed.tree import Node, block, divide, nodes
from lstmcore.layers.initializers import get
from lstmcore.layers.parameters import Parameters, WeightSpec


@pytest.mark.parametrize("shards", [1, 2, 3, 7, 8, 12, 100])
def test_nodes_are_those_of_one_tree(shards):
    every = set()

    def walk(low, high):
        every.add((low, high))
        if high - low > 1:
            walk(low, (low + high) // 2)
            walk((low + high) // 2, high)

    walk(0, shards)
    for size in range(1, shards + 1):
        blocks = [block(shards, rank, size) for rank in range(size)]
        assert [shard for own in blocks for shard in own] == list(range(shards))
        assert all(blocks)
        for own in blocks:
            found = nodes(shards, own)
            assert set(found) <= every
            assert [shard for node in found for shard in range(*node)] == list(own)
            joined = {(one.low, two.high) for one, two in pairwise(found)}
            assert not joined & every, "two of them could have been summed here"


def test_a_power_of_two_of_processes_sends_one_sum_each():
    for size in (1, 2, 4, 8):
        for rank in range(size):
            assert len(nodes(8, block(8, rank, size))) == 1
    assert nodes(8, block(8, 0, 2)) == [Node(0, 4)]


def sum_by_recursion(gradients):
    """The reference: the tree as its definition says."""
    if len(gradients) == 1:
        return gradients[0]
    half = len(gradients) // 2
    return sum_by_recursion(gradients[:half]) + sum_by_recursion(gradients[half:])


def parameters_of(sizes):
    specs = {
        f"weight_{place}": WeightSpec(f"weight_{place}", (size,), get("zeros", "initializer"))
        for place, size in enumerate(sizes)
    }
    return Parameters(specs, np.dtype(np.float32))


@pytest.mark.parametrize("shards", [1, 2, 3, 5, 8, 11])
@pytest.mark.parametrize("frozen", [(), ("weight_1",)])
def test_sums_have_the_bits_of_the_tree(shards, frozen, rng):
    sizes = (37, 5, 61)
    gradients = (
        rng.standard_normal((shards, sum(sizes)))
        * 10.0 ** rng.integers(-4, 5, (shards, sum(sizes)))
    ).astype(np.float32)
    gradients[:, :2] = -0.0
    empty = {shards // 2} if shards > 2 else set()
    for shard in empty:
        gradients[shard] = 0.0
    if frozen:
        gradients[:, 37:42] = 0.0
    expected = sum_by_recursion(list(gradients))
    naive = gradients.sum(axis=0)
    if shards > 4:
        assert (naive != expected).any()  # the order makes a difference
    for size in range(1, min(shards, 5) + 1):

        def work(played):
            parameters = parameters_of(sizes)
            parameters.freeze(frozen)
            total = GradientSum(Group(played._open(), 20.0), shards, parameters)
            found = []
            for _ in range(2):  # the second sum uses the arrays of the first

                def leaf(shard):
                    parameters.gradients[:] = gradients[shard]
                    return shard not in empty

                total.run(leaf, "here")
                found.append(parameters.gradients.copy())
            return found

        for first, second in results(size, work, shards):
            assert first.tobytes() == second.tobytes() == expected.tobytes()


def test_a_sum_follows_what_is_trained(rng):
    parameters = parameters_of((3, 4))
    total = GradientSum(Group(Alone(), 1.0), 2, parameters)

    def leaf(shard):
        parameters.gradients[:] = shard + 1.0
        for name in parameters.frozen:
            parameters.gradient(name)[:] = 0.0
        return True

    total.run(leaf, "here")
    assert parameters.gradients.tolist() == [3.0] * 7
    parameters.freeze(["weight_0"])
    total.run(leaf, "here")
    assert parameters.gradients.tolist() == [0.0] * 3 + [3.0] * 4


def test_rows_are_divided_evenly():
    assert divide(slice(10, 30), 25, 2) == [slice(10, 17), slice(17, 25)]
    assert divide(slice(None), 3, 4) == [slice(0, 0), slice(0, 1), slice(1, 2), slice(2, 3)]
    rows = np.arange(100, 110)
    shards = divide(rows, 1000, 4)
    assert [shard.tolist() for shard in shards] == [
        [100, 104, 108],
        [101, 105, 109],
        [102, 106],
        [103, 107],
    ]
    for count in range(20):
        parts = divide(slice(0, count), count, 6)
        lengths = [part.stop - part.start for part in parts]
        assert sum(lengths) == count
        assert max(lengths) - min(lengths) <= 1
