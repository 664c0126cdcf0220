"""lstmcore as a backend in the sense of `onnx.backend`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx

from lstmcore import _checks
from lstmcore._typing import Array
from lstmcore.onnx.graph import NEWEST_OPSET
from lstmcore.onnx.model import Model, load

__all__ = ["Backend", "BackendRep"]


class BackendRep:
    """A model that was prepared to run."""

    def __init__(self, model: Model) -> None:
        _checks.instance(model, Model, "model", "a model that lstmcore.onnx.load returned")
        self.model = model

    def run(self, inputs: Any, **options: Any) -> tuple[Array, ...]:
        """Return all outputs.

        Parameters
        ----------
        inputs : sequence of ndarray, mapping of str to ndarray, or ndarray
            In the order of the model's inputs, by name, or the only one.
        """
        _refuse(options)
        if isinstance(inputs, np.ndarray):
            inputs = [inputs]
        if not isinstance(inputs, Mapping):
            _checks.instance(inputs, Sequence, "inputs", "arrays in a sequence or by name")
            if len(inputs) != len(self.model.inputs):
                raise ValueError(
                    f"inputs: expected {len(self.model.inputs)} arrays, got {len(inputs)}"
                )
            inputs = {
                argument.name: value
                for argument, value in zip(self.model.inputs, inputs, strict=True)
            }
        return tuple(self.model.run(inputs).values())


class Backend:
    """The interface of `onnx.backend.base.Backend`; all methods are class methods."""

    @classmethod
    def is_compatible(cls, model: Any, device: str = "CPU", **options: Any) -> bool:
        """Return whether all operators of a model are implemented."""
        try:
            cls.prepare(model, device, **options)
        except ValueError:
            return False
        return True

    @classmethod
    def prepare(cls, model: Any, device: str = "CPU", **options: Any) -> BackendRep:
        """Load a model; see `load`."""
        _refuse(options)
        if not cls.supports_device(device):
            raise ValueError(f"device: expected 'CPU', got {device!r}")
        return BackendRep(load(model))

    @classmethod
    def run_model(
        cls, model: Any, inputs: Any, device: str = "CPU", **options: Any
    ) -> tuple[Array, ...]:
        """Load a model and run it once."""
        return cls.prepare(model, device, **options).run(inputs)

    @classmethod
    def run_node(
        cls,
        node: Any,
        inputs: Sequence[Array],
        device: str = "CPU",
        outputs_info: Any = None,
        **options: Any,
    ) -> tuple[Array, ...]:
        """Run one node.

        Parameters
        ----------
        node : onnx.NodeProto
        inputs : sequence of ndarray
            The inputs that the node has, in order.
        device : str, default "CPU"
        outputs_info : object
            Ignored: outputs have the types that the node computes.
        **options
            ``opset_version``, by default the newest.
        """
        opset = int(options.pop("opset_version", min(onnx.defs.onnx_opset_version(), NEWEST_OPSET)))
        _refuse(options)
        _checks.instance(node, onnx.NodeProto, "node", "an onnx.NodeProto")
        _checks.instance(inputs, Sequence, "inputs", "arrays in a sequence")
        names = list(dict.fromkeys(name for name in node.input if name))
        if len(inputs) != len(names):
            raise ValueError(f"inputs: expected {len(names)} arrays, got {len(inputs)}")
        infos = []
        for name, value in zip(names, inputs, strict=True):
            kind = onnx.helper.np_dtype_to_tensor_dtype(np.asarray(value).dtype)
            infos.append(onnx.helper.make_tensor_value_info(name, kind, np.shape(value)))
        results = [onnx.ValueInfoProto(name=name) for name in node.output if name]
        graph = onnx.helper.make_graph([node], node.op_type, infos, results)
        model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)])
        return cls.run_model(model, [np.asarray(value) for value in inputs], device)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """Return whether `device` is the CPU, with or without a number, such as "CPU:0"."""
        _checks.instance(device, str, "device", "a name such as 'CPU'")
        return device.split(":")[0] == "CPU"


def _refuse(options: Mapping[str, Any]) -> None:
    if options:
        raise TypeError(f"options: expected none, got {', '.join(options)}")
