"""The order in which the gradients of shards are summed: a binary tree, the same for any number of
processes.

Floating-point sums depend on their order. So a batch always has the same number of shards, and
their gradients are the leaves of one fixed tree. A process that computes neighbouring shards sums
what lies below its nodes of the tree; whoever owns a slice of the parameters sums the rest.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from lstmcore._typing import Array

__all__ = ["Node", "block", "divide", "middle", "nodes"]


class Node(NamedTuple):
    """A node of the tree: the sum of the shards from `low` to `high` - 1."""

    low: int
    high: int

    @property
    def is_leaf(self) -> bool:
        """Whether it is a single shard."""
        return self.high - self.low == 1


def middle(node: Node) -> int:
    """Return the first shard of the second half of a node."""
    return (node.low + node.high) // 2


def block(shards: int, rank: int, size: int) -> range:
    """Return the shards that the process `rank` of `size` computes."""
    return range(shards * rank // size, shards * (rank + 1) // size)


def nodes(shards: int, own: range) -> list[Node]:
    """Return the highest nodes of the tree that hold nothing but shards of `own`, in order."""

    def within(node: Node) -> Iterator[Node]:
        if node.low >= own.stop or node.high <= own.start:
            return
        if own.start <= node.low and node.high <= own.stop:
            yield node
            return
        yield from within(Node(node.low, middle(node)))
        yield from within(Node(middle(node), node.high))

    return list(within(Node(0, shards)))


def divide(rows: Array | slice, count: int, shards: int) -> list[Array | slice]:
    """Divide the rows of a batch into shards whose sizes differ by at most one.

    Parameters
    ----------
    rows : ndarray of int64, or slice
        Of `count` samples.
    count : int
    shards : int

    Returns
    -------
    list of (ndarray of int64, or slice)
        Some are empty if there are fewer rows than shards. Rows in their own order stay together,
        as files are read best; of others, which may be sorted by length, every shard has short and
        long ones.
    """
    if not isinstance(rows, slice):
        return [rows[shard::shards] for shard in range(shards)]
    start, stop, _ = rows.indices(count)
    cuts = [start + (stop - start) * shard // shards for shard in range(shards + 1)]
    return [slice(begin, end) for begin, end in pairwise(cuts)]
