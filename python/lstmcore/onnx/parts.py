"""Parts of a graph without recurrent nodes, which ONNX Runtime runs, or the reference of `onnx`."""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper
from onnx.reference import ReferenceEvaluator

from lstmcore import _core
from lstmcore.onnx.folding import may_fold
from lstmcore.onnx.graph import Node, graphs_of, schema_of
from lstmcore.onnx.guards import explained, guard_graph
from lstmcore.onnx.limits import counting_turns, limits
from lstmcore.onnx.scope import Scope
from lstmcore.onnx.turn_counts import count_all_turns, count_nested_turns, has_loop
from lstmcore.onnx.types import parsed_type, tensor_type, width_of

__all__ = ["REFERENCE", "RUNTIME", "Part", "opened_session", "quick_run", "runtime"]

LARGEST = (1 << 31) - 1
"""Bytes that a message of protobuf may have."""

COMMON = 13
"""A version of the standard that every ONNX Runtime knows that can be installed here."""

FAILED_NODE = re.compile(
    r"running (?P<operator>\S+) node\. Name:'(?P<name>[^']*)'(?: Status Message: (?P<why>.*))?",
    re.DOTALL,
)
"""How ONNX Runtime's errors name the node that failed."""

NO_MEMORY = re.compile(r"std::bad_alloc|bad allocation|Failed to allocate memory")
"""How the errors of ONNX Runtime, of other classes, say that there is too little memory."""

BEFORE = "lstmcore turns before"
"""The input of a model that counts turns."""

REFERENCE = "onnx.reference"
RUNTIME = "ONNX Runtime"


def runtime() -> Any:
    """Return the package onnxruntime, or None if it is not installed."""
    try:
        import onnxruntime
    except ImportError:
        return None
    return onnxruntime


class Part:
    """Nodes that are run together, with the constants that they need.

    Parameters
    ----------
    nodes : sequence of Node
        In the order in which they can run; empty if all outputs are constant.
    outputs : sequence of str
        Names of the values to return.
    scope : Scope
        Where the names belong. Types of the outputs are entered as ONNX Runtime infers them.
    alone : bool
        Whether the engine runs nothing of the model, so that idle threads may wait actively.

    Attributes
    ----------
    inputs, outputs : tuple of str
        Names of the values that it takes, and returns.
    runner : str
        "ONNX Runtime" or "onnx.reference".
    operators : tuple of str
        What it consists of, for people.
    label : str
        The names of its nodes, for errors.

    Raises
    ------
    ValueError
        If neither can run the nodes.
    MemoryError
        If that takes more memory than there is, as a call may too.
    """

    def __init__(
        self, nodes: Sequence[Node], outputs: Sequence[str], scope: Scope, alone: bool = False
    ) -> None:
        self.outputs = tuple(outputs)
        model, names, self._turns = _extracted(nodes, self.outputs, scope)
        self.inputs = tuple(names)
        counted = Counter(proto.op_type for proto in model.graph.node)
        self.operators = tuple(
            kind if count == 1 else f"{count} {kind}" for kind, count in counted.items()
        )
        self.label = _label(model.graph.node)
        limits().open(self.label)
        package = runtime()
        if package is None:
            self._evaluate, self.runner = self._reference(model), REFERENCE
            return
        if model.ByteSize() > LARGEST:
            raise ValueError(
                f"{self.label}: expected at most 2 GiB of weights between two recurrent nodes, "
                f"got {model.ByteSize() / (1 << 30):.1f} GiB"
            )
        content, folding = model.SerializeToString(), may_fold(model.graph)
        del model  # a session copies its constants once more as it opens
        self._evaluate, self.runner = self._started(package, content, folding, scope, alone)

    @property
    def owns_results(self) -> bool:
        """Whether its results share no memory with each other or with its inputs."""
        return self.runner == RUNTIME

    def __call__(self, *arrays: Any) -> Sequence[Any]:
        """Return the outputs for the inputs, both in the order of the names."""
        feed = {
            name: array if array.__class__ is np.ndarray else _as_array(array)
            for name, array in zip(self.inputs, arrays, strict=True)
        }
        try:
            if self._turns:
                return self._counted(feed)
            return self._evaluate(self.outputs, feed)
        except MemoryError:
            raise
        except Exception as error:  # the classes are the runtime's
            raise failure(error, self._explained(str(error))) from error

    def _counted(self, feed: Any) -> Sequence[Any]:
        """Run, and count the turns of the loops within with those of the loop around them."""
        with counting_turns() as taken:
            feed[BEFORE] = np.array(taken[0], np.int64)
            *results, count = self._evaluate((*self.outputs, self._turns), feed)
            taken[0] = int(count)
        return results

    def _started(
        self, package: Any, content: bytes, folding: bool, scope: Scope, alone: bool
    ) -> tuple[Callable[..., Sequence[Any]], str]:
        """Return the function that runs the model, and who runs it."""
        try:
            session = opened_session(package, content, alone, folding)
        except MemoryError:
            raise
        except Exception as error:  # the classes are the runtime's
            if type(error).__name__ != "NotImplemented":
                raise failure(error, f"{self.label}: ONNX Runtime refuses: {error}") from error
            evaluate = self._reference(onnx.load_model_from_string(content))
            warnings.warn(
                f"{self.label}: runs slowly, in the reference implementation of the package onnx, "
                f"because ONNX Runtime refuses: {error}",
                RuntimeWarning,
                stacklevel=2,
            )
            return evaluate, REFERENCE
        for entry in session.get_outputs():
            if entry.name not in scope.types:
                found = parsed_type(entry.type, entry.shape or None)  # [] may mean anything
                if found is not None:
                    scope.types[entry.name] = found
        return quick_run(session), RUNTIME

    def _reference(self, model: Any) -> Callable[..., Sequence[Any]]:
        """Return the function that runs the model in the reference implementation."""
        try:
            typed = onnx.shape_inference.infer_shapes(model)
        except MemoryError:
            raise
        except Exception:  # too large, for example
            typed = model
        try:
            evaluator = ReferenceEvaluator(typed)
        except MemoryError:
            raise
        except Exception as error:  # of many classes
            raise ValueError(
                f"{self.label}: the reference implementation of the package onnx refuses: {error}"
            ) from error

        def evaluate(names: Sequence[str], feed: Any) -> Sequence[Any]:
            with np.errstate(all="ignore"):  # overflow gives infinity, as in other runtimes
                found: Sequence[Any] = evaluator.run(list(names), feed)
            return found

        return evaluate

    def _explained(self, message: str) -> str:
        """Return an error's message with the node that failed."""
        stopped = explained(message)
        if stopped is not None:
            return stopped
        found = FAILED_NODE.search(message)
        if found is None or not found["name"]:
            return f"{self.label}: {message}"
        return f"node {found['name']!r} ({found['operator']}): {found['why'] or message}"


def failure(error: Exception, message: str) -> Exception:
    """Return what to raise for an error of ONNX Runtime: a ValueError, or a MemoryError."""
    return (MemoryError if NO_MEMORY.search(str(error)) else ValueError)(message)


def _as_array(value: Any) -> Any:
    """Return numbers of NumPy's as arrays; sequences, which are lists, as they are."""
    return np.asarray(value) if isinstance(value, (np.generic, np.ndarray)) else value


def _label(protos: Sequence[Any]) -> str:
    """Return a name for nodes in errors; it begins like that of a single node."""
    if not protos:
        return "constants"
    first, last = (f"{proto.name!r} ({proto.op_type})" for proto in (protos[0], protos[-1]))
    return f"node {first}" if len(protos) == 1 else f"nodes {first} to {last}"


def opened_session(package: Any, model: bytes, alone: bool = False, folding: bool = True) -> Any:
    """Return a session; one that is not `alone` shares the processor with the engine.

    Without `folding`, it computes its constants in every run, where they would otherwise take
    longer to compute than a model may take to load.
    """
    options = package.SessionOptions()
    options.log_severity_level = 4  # what stops a model is raised; the rest is not for users
    options.intra_op_num_threads, spins = _core.get_num_threads(), True
    options.inter_op_num_threads = 1
    if not alone:  # idle threads that spin would take a core from the engine's threads
        options.intra_op_num_threads, spins = limits().threads(_core.get_num_threads())
        options.add_session_config_entry("session.force_spinning_stop", "1")
    if not spins:
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    disabled = None if folding else ["ConstantFolding"]
    session = package.InferenceSession(
        model, options, providers=["CPUExecutionProvider"], disabled_optimizers=disabled
    )
    if hasattr(session, "_model_bytes"):  # kept to open it once more for other processors
        session._model_bytes = None
    return session


def quick_run(session: Any) -> Callable[..., Sequence[Any]]:
    """Return the function that runs a session without checks of its inputs in Python.

    These take a microsecond of every call, and what is wrong is found later as well.
    """
    within = getattr(session, "_sess", session)

    def run(names: Sequence[str], feed: Any) -> Sequence[Any]:
        found: Sequence[Any] = within.run(names, feed, None)
        return found

    run.__dict__["session"] = session  # lives as long as what it holds is used
    return run


def _extracted(
    nodes: Sequence[Node], outputs: Iterable[str], scope: Scope
) -> tuple[Any, list[str], str]:
    """Return a model of the nodes, the names of its inputs, and of a count of turns, if any.

    If there are loops, and perhaps one around them, the model takes the count `BEFORE` as well.
    """
    graph = onnx.GraphProto(name="part")
    made = {name for node in nodes for name in node.outputs}
    seen, inputs = set(made), list[str]()

    def need(name: str, where: Scope, reader: Node | None) -> None:
        home = where.home(name)
        if name in seen or home is None:  # None: it belongs to a graph of one of the nodes
            return
        seen.add(name)
        if name in home.names:
            inputs.append(name)
            return
        _count(name, home, reader, not nodes)
        if name in home.tensors:
            graph.initializer.append(home.tensors[name])
        elif name in home.constants:
            graph.initializer.append(numpy_helper.from_array(home.constants[name], name))
        else:
            source = home.sources[name]
            seen.update(source.outputs)
            for other in source.reads:
                need(other, home, source)
            graph.node.append(source.proto)

    for node in nodes:
        for name in node.reads:
            need(name, scope, node)
    for name in outputs:
        need(name, scope, None)
    graph.node.extend(node.proto for node in nodes)
    taken = set[str]()
    for proto in graph.node:  # ONNX Runtime refuses two nodes of one name
        proto.name = "" if proto.name in taken else proto.name
        taken.add(proto.name)
    for name in inputs:
        graph.input.append(onnx.ValueInfoProto(name=name, type=scope.type_of(name)))
    graph.output.extend(onnx.ValueInfoProto(name=name) for name in outputs)
    versions = {**scope.origin.versions, "": _version(graph, scope.origin.opset)}
    used = {"", *_domains(graph)}
    imports = [onnx.helper.make_opsetid(d, v) for d, v in versions.items() if d in used]
    # From version 4 on, initializers are constants, which ONNX Runtime folds and packs.
    lowest = max(onnx.helper.find_min_ir_version_for(imports, ignore_unknown=True), 4)
    types = {name: scope.type_of(name) for name in (*made, *seen)}
    widths = {name: width_of(kind) for name, kind in types.items() if kind is not None}
    opset = scope.origin.opset
    if scope.parent is not None and has_loop(graph):  # perhaps a loop around it
        after, counted = count_all_turns(graph, opset, BEFORE)
        graph.input.append(
            onnx.ValueInfoProto(name=BEFORE, type=tensor_type(TensorProto.INT64, ()))
        )
        graph.output.append(onnx.ValueInfoProto(name=after))
    else:
        after, counted = "", count_nested_turns(graph, opset)
    guard_graph(graph, opset, widths, scope.origin.growing, counted)
    model = onnx.helper.make_model(graph, opset_imports=imports, ir_version=lowest)
    return model, inputs, after


def _count(name: str, home: Scope, reader: Node | None, alone: bool) -> None:
    """Compare a constant with the limits, if another part holds it too: each has its own.

    What is computed `alone` is not held, but again computed.
    """
    source, seen = home.sources.get(name), home.alone if alone else home.held
    again = name in seen
    seen.update([name] if source is None else source.outputs)
    node = source or reader
    if node is None:
        return
    if not again:
        if name in home.constants and name not in home.tensors:  # it is held here as well
            limits().spend(node, home.constants[name].nbytes)
        return
    size, work = home.costs.get(name, (0, 0))
    if name in home.tensors:
        size = home.tensors[name].ByteSize()
    elif name in home.constants:
        size, work = max(size, home.constants[name].nbytes), 0
    limits().repeat(node, 0 if alone else size, work)


def _version(graph: Any, opset: int) -> int:
    """Return a low version of the standard in which the operators of a graph mean the same.

    ONNX Runtime refuses files of a version that it does not know, even if it knows the operators.
    """
    version = min(opset, COMMON)
    for proto in graph.node:
        schema = schema_of(proto.op_type, opset, "") if proto.domain == "" else None
        if schema is not None:
            version = max(version, int(schema.since_version))
        for inner in graphs_of(proto):
            version = max(version, _version(inner, opset))
    return version


def _domains(graph: Any) -> set[str]:
    """Return the domains of a graph's operators; ONNX Runtime refuses to hear of unknown ones."""
    found = {str(proto.domain) for proto in graph.node}
    for proto in graph.node:
        for inner in graphs_of(proto):
            found |= _domains(inner)
    return found
