"""Exported models: random weights and inputs, runs in ONNX Runtime and here, and comparisons."""

import numpy as np
import onnx
import onnxruntime as runtime

import lstmcore as lc
import lstmcore.onnx
from lstmcore import layers
from lstmcore.onnx import export
from reference import relative_error

OPSETS = (14, 17, 20, min(26, onnx.defs.onnx_opset_version()))
TOLERANCE = 1e-5


def build(stack, shape, seed=0, dtype="float32", scale=0.5):
    """Make a model with random weights of every kind."""
    model = lc.Sequential([layers.Input(shape), *stack], seed=seed, dtype=dtype)
    random = np.random.default_rng(seed)
    model.set_weights(
        {
            name: (random.normal(scale=scale, size=value.shape) + (".gain_" in name)).astype(dtype)
            for name, value in model.weights.items()
            if not name.endswith("variance")  # which are not negative
        }
    )
    return model


def batch(model, size, steps, seed=0):
    random = np.random.default_rng(seed)
    shape = [size, *(steps if entry is None else entry for entry in model.input_shape[1:])]
    first = model._network[0]
    if first.input_kind != "ids":
        return random.normal(size=shape).astype(model.dtype)
    while not hasattr(first, "input_dim"):
        first = first.layer
    return random.integers(0, first.input_dim, shape)


def session_of(proto):
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    return runtime.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def in_runtime(proto):
    """Return a function that runs a model in ONNX Runtime: from named inputs to named outputs."""
    session = session_of(proto)
    names = [entry.name for entry in session.get_outputs()]

    def run(feeds):
        assert {entry.name for entry in session.get_inputs()} == set(feeds)
        return dict(zip(names, session.run(None, feeds), strict=True))

    return run


def run(proto, feeds):
    return in_runtime(proto)(feeds)


def in_importer(proto):
    """Return a function that runs a model in this package's own importer."""
    return lstmcore.onnx.load(proto.SerializeToString(), same_bits=True).run


MAKERS = (in_runtime, in_importer) if hasattr(lstmcore.onnx, "load") else (in_runtime,)


def ragged(size, steps, seed=0):
    lengths = np.random.default_rng(seed).integers(1, steps + 1, size)
    lengths[-1] = 1
    lengths[0] = steps
    return lengths


def difference(result, expected, least):
    """Return the largest difference, relative to the largest output or to `least`, if larger."""
    largest = np.abs(expected).max(initial=0.0)
    return relative_error(result, expected) * min(1.0, largest / least if least else 1.0)


def ready(proto, makers=MAKERS):
    """Return functions that run a model, one for each runtime."""
    return [make(proto) for make in makers]


def agree(model, runs, x, lengths=None, state=None, tolerance=TOLERANCE, least=0.0):
    """Compare outputs, lengths and states."""
    feeds, before = {"x": x}, {}
    if lengths is not None:
        feeds["lengths"] = lengths.astype(np.int32)
    several = len(model.recurrent_layers) > 1
    for key, pair in (state or {}).items():
        prefix = f"{key}." if several else ""
        feeds[f"{prefix}h0"], feeds[f"{prefix}c0"] = pair
        before[key] = lc.functional.LSTMState(*pair)
    own_lengths = None if lengths is None else lengths.astype(np.int64)
    y, valid, _, after = model._forward_from(x, own_lengths, False, 0, False, before)
    for run in runs:
        results = run(feeds)
        assert difference(results.pop("y"), y, least) <= tolerance
        if "y_lengths" in results:
            np.testing.assert_array_equal(results.pop("y_lengths"), valid)
        for key in state or {}:
            prefix = f"{key}." if several else ""
            assert difference(results.pop(f"{prefix}hn"), after[key].h, least) <= tolerance
            assert difference(results.pop(f"{prefix}cn"), after[key].c, least) <= tolerance
        assert not results


def check(model, opset=17, *, lengths=True, states=False, sizes=((3, 7), (1, 1), (5, 12)), **more):
    """Export with and without lengths; run at several sizes."""
    for with_lengths in (False, True) if lengths else (False,):
        proto = export(model, opset=opset, lengths=with_lengths, states=states, **more)
        onnx.checker.check_model(proto, full_check=True)
        assert proto.opset_import[0].version == opset
        runs = ready(proto)
        for number, (size, steps) in enumerate(sizes):
            x = batch(model, size, steps, number)
            rows = ragged(size, x.shape[1], number) if with_lengths else None
            state = random_state(model, size, number) if states else None
            agree(model, runs, x, rows, state)


def random_state(model, size, seed):
    random = np.random.default_rng(seed)
    return {
        key: tuple(
            random.normal(size=shape).astype(model.dtype) for shape in part._state_shapes(size)
        )
        for key, part in model.recurrent_layers.items()
    }
