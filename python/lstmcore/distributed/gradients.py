"""The gradients of all shards, summed in the order of `tree` over all processes."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from lstmcore._typing import Array
from lstmcore.distributed.group import Group
from lstmcore.distributed.rows import LARGE, Rows, Touched, join
from lstmcore.distributed.tree import Node, block, middle, nodes
from lstmcore.layers.parameters import Parameters

__all__ = ["GradientSum"]


class _Sum(NamedTuple):
    """A sum of gradients: most of them side by side, some as rows, by name."""

    plain: Array
    rows: dict[str, Rows]


class GradientSum:
    """Sums the gradients of all shards; every process is left with the same bits.

    Each process sums its own shards as far as the tree allows and sends every other process a
    slice of that; from the slices of all processes each sums its own slice of the parameters, and
    sends that to all. So a process with p parameters of 4 bytes sends and receives about 8 p bytes
    if the number of shards is that of processes times a power of two. Gradients of large
    embeddings are sent as rows where that is less.

    Parameters
    ----------
    group : Group
    shards : int
    parameters : Parameters
        Holds the gradients of the shard that was computed last, and then the sum. Those that are
        not trained take no part.

    Attributes
    ----------
    touched : Touched
        Rows of large embeddings that the shards of this process have touched in the last sum.
    """

    def __init__(self, group: Group, shards: int, parameters: Parameters) -> None:
        self._group, self._parameters = group, parameters
        self._nodes = [nodes(shards, block(shards, rank, group.size)) for rank in range(group.size)]
        self._root = Node(0, shards)
        self._spare: list[Array] = []  # arrays of an earlier sum
        self._arrays: dict[str, Array] = {}
        self._parts: list[slice] = []
        self._tables: tuple[str, ...] = ()
        self._leaf: Callable[[int], bool] = lambda shard: False
        self.touched: Touched = {}

    def run(self, leaf: Callable[[int], bool], where: str, tables: Sequence[str] = ()) -> None:
        """Compute all shards of this process and sum the gradients of all processes.

        Parameters
        ----------
        leaf : callable
            Writes the gradients of a shard; returns False if it has no rows.
        where : str
            See `Group.share`.
        tables : sequence of str
            The weights whose gradients are summed as rows.
        """
        parameters = self._parameters
        self._leaf, self._tables, self.touched = leaf, tuple(tables), {}
        parts = parameters.parts_without(parameters.frozen.union(tables))
        if parts != self._parts:
            self._parts, self._spare = parts, []
        parameters.want_rows(tables)
        try:
            own = [self._sum(node) for node in self._nodes[self._group.rank]]
        finally:
            parameters.want_rows(())
        total = own[0] if self._group.size == 1 else self._exchange(own, where)
        for part, place in zip(self._parts, self._places(), strict=True):
            parameters.gradients[part] = total.plain[place]
        parameters.forget_finite()
        for name, rows in total.rows.items():
            gradient = parameters.gradient(name)
            gradient.fill(0)
            gradient[rows.ids] = rows.values
            parameters.note_finite(name, bool(np.isfinite(rows.values).all()))
        self._spare += [one.plain for one in own]

    def _places(self) -> list[slice]:
        """Return where the parts of the parameters lie in a sum."""
        ends = np.cumsum([part.stop - part.start for part in self._parts])
        begins = [0, *ends][: len(ends)]
        return [slice(int(begin), int(end)) for begin, end in zip(begins, ends, strict=True)]

    # ---- the shards of this process ------------------------------------------------------------

    def _sum(self, node: Node) -> _Sum:
        """Compute the shards of a node; return the sum of their gradients."""
        if node.is_leaf:
            return self._computed(node.low)
        left, second = self._sum(Node(node.low, middle(node))), Node(middle(node), node.high)
        if second.is_leaf:
            rows = self._add_computed(left.plain, second.low)
        else:
            right = self._sum(second)
            np.add(left.plain, right.plain, out=left.plain)
            self._spare.append(right.plain)
            rows = right.rows
        return _Sum(left.plain, _joined(left.rows, rows))

    def _computed(self, shard: int) -> _Sum:
        places = self._places()
        size = places[-1].stop if places else 0
        total = self._spare.pop() if self._spare else np.empty(size, self._parameters.dtype)
        if not self._leaf(shard):
            total.fill(0)
            return _Sum(total, self._no_rows())
        rows = self._rows()
        for part, place in zip(self._parts, places, strict=True):
            total[place] = self._parameters.gradients[part]
        return _Sum(total, rows)

    def _add_computed(self, total: Array, shard: int) -> dict[str, Rows]:
        """Add the gradients of a shard to a sum; return those that are rows."""
        if not self._leaf(shard):
            total += 0.0  # as if zeros were added, which turn -0 into 0
            return self._no_rows()
        rows = self._rows()
        for part, place in zip(self._parts, self._places(), strict=True):
            total[place] += self._parameters.gradients[part]
        return rows

    def _no_rows(self) -> dict[str, Rows]:
        widths = {name: self._parameters.gradient(name).shape[1] for name in self._tables}
        none = np.zeros(0, np.int64)
        return {
            name: Rows(none, np.zeros((0, width), self._parameters.dtype))
            for name, width in widths.items()
        }

    def _rows(self) -> dict[str, Rows]:
        """Return the gradients of the last shard that are summed as rows, and count those rows."""
        parameters, found = self._parameters, {}
        for name, (ids, values) in parameters.take_rows().items():
            gradient = parameters.gradient(name)
            if gradient.nbytes < LARGE:
                continue
            if values is None:  # rows that are summed in their places have no negative zeros either
                ids = np.unique(ids)
                gradient[ids] += 0.0
                values = gradient[ids]
            if name in self._tables:
                found[name] = Rows(ids, values + 0.0)
            self.touched[name] = self.touched.get(name, 0) + len(ids)
        for name in set(self._tables) - set(found):  # a subclass, or a mark; see `passes`
            table = parameters.gradient(name)
            found[name] = Rows(np.arange(len(table)), table + 0.0)
            self.touched[name] = -1
        return found

    # ---- all processes -------------------------------------------------------------------------

    def _exchange(self, own: list[_Sum], where: str) -> _Sum:
        """Return the sum of what all processes hold."""
        plain = self._exchange_plain([one.plain for one in own], where)
        if not self._tables:
            return _Sum(plain, {})
        found = self._group.share([one.rows for one in own], where)
        known = [node for theirs in self._nodes for node in theirs]
        every = dict(zip(known, (rows for theirs in found for rows in theirs), strict=True))
        return _Sum(plain, _finish_rows(self._root, every))

    def _exchange_plain(self, own: list[Array], where: str) -> Array:
        group, length = self._group, own[0].size
        cuts = [length * rank // group.size for rank in range(group.size + 1)]
        slices = [slice(begin, end) for begin, end in pairwise(cuts)]
        sizes = [part.stop - part.start for part in slices]
        mine = sizes[group.rank]
        send = own[0]
        if len(own) > 1:
            send = np.concatenate([node[part] for part in slices for node in own])
        known = [node for theirs in self._nodes for node in theirs]
        received = self._array("received", len(known) * mine)
        talk = group.communicator
        sent = [len(own) * size for size in sizes]
        coming = [len(theirs) * mine for theirs in self._nodes]
        group.wait(lambda: talk.alltoallv(send, sent, received, coming), where)
        sums = dict(zip(known, received.reshape(len(known), mine), strict=True))
        total = self._array("total", length)
        finished = _finish(self._root, sums)
        group.wait(lambda: talk.allgatherv(finished, total, sizes), where)
        return total

    def _array(self, name: str, size: int) -> Array:
        """Return an array for an exchange: that of the step before, if it has the size."""
        if name not in self._arrays or self._arrays[name].size != size:
            self._arrays[name] = np.empty(size, self._parameters.dtype)
        return self._arrays[name]


def _finish(node: Node, sums: dict[Node, Array]) -> Array:
    """Sum the nodes of the tree that no process could sum alone, in place."""
    if node in sums:
        return sums[node]
    total = _finish(Node(node.low, middle(node)), sums)
    total += _finish(Node(middle(node), node.high), sums)
    return total


def _finish_rows(node: Node, sums: dict[Node, dict[str, Rows]]) -> dict[str, Rows]:
    """Do the same with rows."""
    if node in sums:
        return sums[node]
    left = _finish_rows(Node(node.low, middle(node)), sums)
    return _joined(left, _finish_rows(Node(middle(node), node.high), sums))


def _joined(left: dict[str, Rows], right: dict[str, Rows]) -> dict[str, Rows]:
    return {name: join(rows, right[name]) for name, rows in left.items()}
