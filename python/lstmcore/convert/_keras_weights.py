"""Where Keras' files have the weights of layers: at addresses (Keras 3), or in lists (Keras 2).

Keras 3 stores a variable at an address such as ``layers/lstm_1/cell/vars/0``. Keras 2 lists the
variables of each layer of the model under the layer's name, those that are trained first.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from lstmcore._typing import Array
from lstmcore.convert._keras_parts import Place
from lstmcore.convert._strict import Tensor
from lstmcore.layers import Layer

Wanted: TypeAlias = dict[str, Place]
"""The weights of a model, with their full names here, by their names in the file."""

LAYERS = "layers/"
"""Where the addresses of a model's layers begin."""


@dataclass(frozen=True)
class Spot:
    """Where the weights of a Keras layer are, depending on the kind of file."""

    address: str
    group: str | None = None
    """The layer of the whole model that lists them; None: the order decides."""


@dataclass(frozen=True)
class Slot:
    """The weights of one Keras layer, which is a layer here or a part of one."""

    layer: Layer
    places: tuple[Place, ...]
    """Named as in `layer`, in Keras' order."""
    spot: Spot
    prefix: str
    """Of the weights' full names."""

    def named(self) -> list[Place]:
        """List the places with the full names of their weights."""
        return [replace(place, name=f"{self.prefix}.{place.name}") for place in self.places]


# ---- addresses -----------------------------------------------------------------------------------


class Numbering:
    """Numbers repeated names as Keras 3 does: lstm, lstm_1, lstm_2."""

    def __init__(self) -> None:
        self._used: dict[str, int] = {}

    def next(self, class_name: str) -> str:
        """Return the next name for an object of this class."""
        name = snake_case(class_name)
        number = self._used.get(name, -1) + 1
        self._used[name] = number
        return f"{name}_{number}" if number else name


class DoubledNumbering(Numbering):
    """Numbers as Keras 2's `.keras` files do: lstm, lstm_2, lstm_4, if all of them have weights.

    Keras 2 visits a layer with weights twice, and the second visit uses up a number, too.
    """

    def __init__(self, addresses: Collection[str], within: str) -> None:
        super().__init__()
        self._filled = {
            address[len(within) :].partition("/")[0]
            for address in addresses
            if address.startswith(within)
        }

    def next(self, class_name: str) -> str:
        """Return the next name for an object of this class."""
        name = super().next(class_name)
        if name in self._filled:
            super().next(class_name)
        return name


@dataclass(frozen=True)
class ByAddress:
    """The variables of Keras 3's files and objects, and of Keras 2's `.keras` files."""

    tensors: Mapping[str, Tensor]
    doubled: bool = False
    """Whether layers are numbered as in `DoubledNumbering`."""

    def numbering(self, within: str) -> Numbering:
        """Return what numbers the layers whose addresses begin with `within`."""
        return DoubledNumbering(self.tensors, within) if self.doubled else Numbering()

    def match(
        self, slots: Sequence[Slot], left_out: Sequence[Spot] = ()
    ) -> tuple[Wanted, dict[str, Tensor]]:
        """List the weights of `slots`, and all tensors but those of `left_out`, by address."""
        wanted = {
            slot.spot.address + place.address: place for slot in slots for place in slot.named()
        }
        other = tuple(spot.address for spot in left_out)
        # Files also hold the optimizer and metrics.
        found = {
            address: tensor
            for address, tensor in self.tensors.items()
            if address.startswith(LAYERS)
            and not address.startswith(other)
            and is_weight(address, tensor)
        }
        return wanted, found


def is_weight(address: str, tensor: Tensor) -> bool:
    """Whether a variable is no counter of random numbers or of samples, as some layers have."""
    return "seed_generator" not in address.split("/") and not _counts(tensor)


def _counts(tensor: Tensor) -> bool:
    return tensor.shape == () and tensor.dtype.startswith("int")


def snake_case(name: str) -> str:
    """Write the name of a class as Keras writes it in addresses."""
    name = re.sub(r"\W+", "", name)
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


# ---- lists ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ByGroup:
    """The variables of an HDF5 file as Keras 2 lays it out: by layer of the model, in order."""

    groups: Mapping[str, Mapping[str, Tensor]]
    convolves: bool = False
    """Whether convolutions walk backwards over their kernels, as those of Keras on Theano do."""

    def numbering(self, within: str) -> Numbering:
        """Return a numbering; nothing in the file depends on it."""
        return Numbering()

    def match(
        self, slots: Sequence[Slot], left_out: Sequence[Spot] = ()
    ) -> tuple[Wanted, dict[str, Tensor]]:
        """List the weights of `slots`, and all tensors but those of `left_out`, by our names.

        Tensors that no weight corresponds to have the names of the file.
        """
        members: dict[str, list[Slot]] = {}
        ordered = any(slot.spot.group is None for slot in slots)
        for slot in self._dealt(slots) if ordered else slots:
            members.setdefault(str(slot.spot.group), []).append(slot)
        skipped = {spot.group for spot in left_out}
        wanted: Wanted = {}
        found: dict[str, Tensor] = {}
        for group in dict.fromkeys((*self.groups, *members)):
            if group in skipped:
                continue
            places = _trained_first(members.get(group, []))
            wanted |= {place.name: place for place in places}
            stored = {n: t for n, t in self.groups.get(group, {}).items() if not _counts(t)}
            for index, (name, tensor) in enumerate(stored.items()):
                known = index < len(places)
                found[places[index].name if known else f"{group}/{name}"] = tensor
        if self.convolves:
            found = {name: _reversed(tensor) for name, tensor in found.items()}
        return wanted, _from_cudnn(wanted, found)

    def _dealt(self, slots: Sequence[Slot]) -> list[Slot]:
        """Deal the slots to the layers of the file by order; a nested model takes several."""
        waiting = [slot for slot in slots if slot.places]
        dealt: list[Slot] = []
        for group, stored in self.groups.items():
            count = 0
            while waiting and count < len(stored):
                slot = waiting.pop(0)
                count += len(slot.places)
                dealt.append(replace(slot, spot=replace(slot.spot, group=group)))
        return dealt + [replace(slot, spot=replace(slot.spot, group="")) for slot in waiting]


Weights: TypeAlias = ByAddress | ByGroup


def _trained_first(slots: Sequence[Slot]) -> list[Place]:
    """List the weights of one layer of the model in Keras 2's order."""
    places = [
        (_is_frozen(slot.layer, own.name), full)
        for slot in slots
        for own, full in zip(slot.places, slot.named(), strict=True)
    ]
    return [place for _, place in sorted(places, key=lambda entry: entry[0])]


def _is_frozen(layer: Layer, name: str) -> bool:
    cells = getattr(layer, "cells", None)
    if cells:
        return not cells[int(name.rpartition("_l")[2].removesuffix("_reverse"))].trainable
    spec = next(spec for spec in layer.weight_specs() if spec.name == name)
    return not (layer.trainable and spec.trainable)


def _reversed(tensor: Tensor) -> Tensor:
    """Turn the kernel (K, C, F) of a convolution around; other tensors have fewer axes."""
    if len(tensor.shape) != 3:
        return tensor
    return replace(tensor, read=lambda: tensor.read()[::-1])


# ---- CuDNNLSTM -----------------------------------------------------------------------------------


def _from_cudnn(wanted: Wanted, found: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rearrange the weights of each CuDNNLSTM, which has two biases, as those of an LSTM."""
    result = dict(found)
    for name in wanted:
        layer, _, own = name.rpartition(".")
        bias = found.get(name)
        if bias is None or not own.startswith("bias_l"):
            continue
        kernels = [f"{layer}.weight_{which}{own.removeprefix('bias')}" for which in ("ih", "hh")]
        recurrent = found.get(kernels[1])
        if recurrent is None or bias.shape != tuple(8 * size for size in recurrent.shape[:1]):
            continue
        result[name] = _summed(bias)
        result.update({kernel: _turned(found[kernel]) for kernel in kernels})
    return result


def _summed(bias: Tensor) -> Tensor:
    """Add the biases of the two products, which come one after the other."""

    def read() -> Array:
        return np.asarray(np.add(*np.split(bias.read(), 2)))

    return replace(bias, shape=(bias.shape[0] // 2,), read=read)


def _turned(kernel: Tensor) -> Tensor:
    """Turn each gate's (C, H), whose numbers cuDNN takes in their order as a matrix (H, C)."""

    def read() -> Array:
        gates = np.split(kernel.read(), 4, axis=1)
        return np.concatenate([gate.reshape(gate.shape[::-1]).T for gate in gates], axis=1)

    return replace(kernel, read=read)
