"""How large results are that are made from numbers: by table, by the guards' nodes, and really."""

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

from onnx import TensorProto, numpy_helper  # noqa: E402

from lstmcore import onnx as lc_onnx  # noqa: E402
from lstmcore.onnx.graph import node_of  # noqa: E402
from lstmcore.onnx.guard_nodes import OLDEST, Computed  # noqa: E402
from lstmcore.onnx.result_sizes import RESULTS, result_of  # noqa: E402
from lstmcore.onnx.scope import Origin, Scope  # noqa: E402
from lstmcore.onnx.sizes import Known  # noqa: E402
from lstmcore.onnx.types import tensor_type  # noqa: E402
from onnx_kit import INT64, ints, make_model, op, runtime, tensor, value  # noqa: E402

MIB = 1 << 20


def floats(*shape):
    return np.ones(shape, np.float32)


def whole(*numbers):
    return np.array(numbers, np.int64)


def one(number, dtype=np.int64):
    return np.array(number, dtype)


RUNTIME, TREES = {"domain": "com.microsoft"}, {"domain": "ai.onnx.ml"}

BOXES = np.array([[0, 0, 3, 2]] * 3, np.float32)

LEAF = {
    **{"nodes_treeids": [0], "nodes_nodeids": [0], "nodes_featureids": [0]},
    **{"nodes_modes": ["LEAF"], "nodes_values": [0.0], "nodes_truenodeids": [0]},
    **{"nodes_falsenodeids": [0], "target_treeids": [0], "target_nodeids": [0]},
    **{"target_ids": [0], "target_weights": [1.0]},
}


def bytes_of(*shape):
    return np.ones(shape, np.uint8)


SCALES = (np.float32(1), np.uint8(0), np.float32(1), np.uint8(0))

# Operator, inputs, attributes, version, elements that are more than there really are.
CASES = {
    "AffineGrid": ("AffineGrid", [floats(2, 2, 3), whole(2, 1, 5, 6)], {}, 20, 1.5),
    "AffineGrid 3d": ("AffineGrid", [floats(1, 3, 4), whole(1, 2, 3, 5, 6)], {}, 20, 2),
    "AveragePool": (
        "AveragePool",
        [floats(2, 3, 5)],
        {"kernel_shape": [3], "pads": [2, 1]},
        17,
        1.5,
    ),
    "BlackmanWindow": ("BlackmanWindow", [one(17)], {}, 17, 1),
    "CenterCropPad": ("CenterCropPad", [floats(3, 4), whole(2, 9)], {}, 18, 1),
    "CenterCropPad of axes": ("CenterCropPad", [floats(3, 4), whole(9)], {"axes": [-1]}, 18, 1),
    "Col2Im": ("Col2Im", [floats(1, 5, 5), whole(5, 5), whole(1, 5)], {}, 18, 1),
    "Conv": ("Conv", [floats(2, 3, 5), floats(4, 3, 3)], {"pads": [2, 1]}, 17, 1.5),
    "Conv with strides": (
        "Conv",
        [floats(2, 3, 9, 9), floats(4, 3, 3, 3)],
        {"pads": [1, 2, 1, 2], "strides": [2, 3]},
        17,
        2,
    ),
    "ConvInteger": (
        "ConvInteger",
        [bytes_of(2, 3, 5), bytes_of(4, 3, 3)],
        {"pads": [2, 1]},
        17,
        1.5,
    ),
    "ConvTranspose": (
        "ConvTranspose",
        [floats(1, 2, 5), floats(2, 3, 4)],
        {"strides": [3]},
        17,
        1.2,
    ),
    "ConvTranspose to a shape": (
        "ConvTranspose",
        [floats(1, 4, 5), floats(4, 3, 4)],
        {"strides": [3], "output_shape": [18], "group": 2},
        17,
        1,
    ),
    "ConvTransposeWithDynamicPads": (
        "ConvTransposeWithDynamicPads",
        [floats(1, 2, 5, 5), floats(2, 3, 4, 4), whole(0, 0, 0, 0)],
        {**RUNTIME, "strides": [3, 3]},
        17,
        1.5,
    ),
    "CropAndResize": (
        "CropAndResize",
        [floats(1, 2, 6, 6), floats(3, 4), np.zeros(3, np.int32), np.array([4, 5], np.int32)],
        RUNTIME,
        17,
        1,
    ),
    "ConstantOfShape": ("ConstantOfShape", [whole(3, 4, 5)], {}, 9, 1),
    "DFT": ("DFT", [floats(2, 10, 1), one(16)], {"axis": 1}, 17, 1),
    "DFT 20": ("DFT", [floats(2, 10, 3, 1), one(5), one(-3)], {}, 20, 1),
    "Expand": ("Expand", [floats(3, 1), whole(2, 1, 6)], {}, 8, 1),
    "Expand to fewer axes": ("Expand", [floats(2, 3, 1), whole(4)], {}, 13, 1),
    "Expand of a number": ("Expand", [floats(), whole(4, 5)], {}, 13, 1),
    "FeatureVectorizer": (
        "FeatureVectorizer",
        [floats(2, 3)],
        {**TREES, "inputdimensions": [3]},
        17,
        1,
    ),
    "FusedConv": (
        "FusedConv",
        [floats(1, 1, 5), floats(1, 1, 3)],
        {**RUNTIME, "pads": [2, 1], "activation": "Relu"},
        17,
        1.5,
    ),
    "GridSample": ("GridSample", [floats(1, 3, 4, 5), floats(1, 2, 6, 2)], {}, 16, 1),
    "HammingWindow": ("HammingWindow", [one(17)], {}, 17, 1),
    "HannWindow": ("HannWindow", [one(17)], {}, 17, 1),
    "LRN": ("LRN", [floats(1, 3, 4, 2)], {"size": 3}, 17, 3),
    "LinearRegressor": (
        "LinearRegressor",
        [floats(2, 2)],
        {**TREES, "targets": 3, "coefficients": [1.0] * 6},
        17,
        1,
    ),
    "LpPool": ("LpPool", [floats(2, 3, 5)], {"kernel_shape": [3], "pads": [2, 1]}, 17, 1.5),
    "MaxPool": ("MaxPool", [floats(2, 3, 5)], {"kernel_shape": [3], "pads": [2, 1]}, 17, 1.5),
    "MaxRoiPool": (
        "MaxRoiPool",
        [floats(1, 2, 6, 6), np.zeros((3, 5), np.float32)],
        {"pooled_shape": [2, 3]},
        17,
        1,
    ),
    "MaxUnpool without a shape": (
        "MaxUnpool",
        [floats(1, 1, 2, 2), whole(0, 2, 8, 10).reshape(1, 1, 2, 2)],
        {"kernel_shape": [2, 2], "strides": [3, 3]},
        11,
        3,
    ),
    "MaxUnpool": (
        "MaxUnpool",
        [floats(1, 1, 2, 2), whole(0, 2, 8, 10).reshape(1, 1, 2, 2), whole(1, 1, 5, 5)],
        {"kernel_shape": [2, 2], "strides": [2, 2]},
        11,
        1,
    ),
    "MaxpoolWithMask": (
        "MaxpoolWithMask",
        [floats(2, 3, 5, 4), np.ones((2, 3, 5, 4), np.int32)],
        {**RUNTIME, "kernel_shape": [3, 3], "pads": [2, 1, 0, 1]},
        17,
        3,
    ),
    "MelWeightMatrix": (
        "MelWeightMatrix",
        [one(8), one(64), one(8000), one(0.0, np.float32), one(4000.0, np.float32)],
        {},
        17,
        2,
    ),
    "Multinomial": ("Multinomial", [floats(2, 3)], {"sample_size": 7, "seed": 1.0}, 17, 1),
    "NhwcMaxPool": (
        "NhwcMaxPool",
        [bytes_of(2, 5, 4, 3)],
        {**RUNTIME, "kernel_shape": [3, 3], "pads": [2, 1, 0, 1]},
        17,
        1000,  # with pointers
    ),
    "OneHotEncoder": (
        "OneHotEncoder",
        [whole(1, 2, 5, 5)],
        {**TREES, "cats_int64s": [1, 2, 5]},
        17,
        1,
    ),
    "OneHot": ("OneHot", [whole(0, 1, 2), one(5), floats(2)], {}, 11, 1),
    "OneHot of a vector": ("OneHot", [whole(0, 1, 2), whole(5), floats(2)], {}, 11, 1),
    "Pad": ("Pad", [floats(3, 4), whole(1, 2, 3, 4)], {}, 11, 1),
    "Pad of axes": ("Pad", [floats(3, 4), whole(2, 5), np.float32(0), whole(-1)], {}, 18, 1),
    "QLinearAveragePool": (
        "QLinearAveragePool",
        [bytes_of(2, 3, 5), *SCALES],
        {**RUNTIME, "kernel_shape": [3], "pads": [2, 1]},
        17,
        1.5,
    ),
    "QLinearAveragePool of the first axes": (
        "QLinearAveragePool",
        [bytes_of(2, 50, 3), *SCALES],
        {**RUNTIME, "kernel_shape": [3], "pads": [2, 1], "channels_last": 1},
        17,
        1.1,
    ),
    "QLinearConv": (
        "QLinearConv",
        [
            *(bytes_of(1, 1, 5), np.float32(1), np.uint8(0)),
            *(bytes_of(2, 1, 3), np.float32(1), np.uint8(0), np.float32(1), np.uint8(0)),
        ],
        {"pads": [2, 1]},
        17,
        1.5,
    ),
    "Range": ("Range", [one(2), one(30), one(4)], {}, 11, 1),
    "Range downwards": (
        "Range",
        [one(1.0, np.float32), one(-2.0, np.float32), one(-0.25, np.float32)],
        {},
        11,
        1,
    ),
    "Resize by scales": (
        "Resize",
        [floats(1, 1, 4, 6), np.array([1, 1, 2.5, 0.5], np.float32)],
        {},
        10,
        1,
    ),
    "Resize to sizes": (
        "Resize",
        [floats(1, 1, 4, 6), floats(0), floats(0), whole(1, 1, 9, 3)],
        {},
        11,
        1,
    ),
    "Resize axes": (
        "Resize",
        [floats(1, 1, 4, 6), None, None, whole(9, 3)],
        {"axes": [2, 3]},
        18,
        1,
    ),
    "Resize by the larger ratio": (
        "Resize",
        [floats(1, 1, 4, 6), None, None, whole(9, 3)],
        {"axes": [2, 3], "keep_aspect_ratio_policy": "not_smaller"},
        18,
        1.2,
    ),
    "ReverseSequence": ("ReverseSequence", [floats(3, 2, 4), whole(3, 2)], {}, 10, 1),
    "RoiAlign": (
        "RoiAlign",
        [floats(1, 2, 6, 6), BOXES, whole(0, 0, 0)],
        {"output_height": 2, "output_width": 3, "sampling_ratio": 2},
        17,
        7,
    ),
    "RoiAlign of points as dense as the input": (
        "RoiAlign",
        [floats(1, 2, 6, 6), BOXES, whole(0, 0, 0)],
        {"output_height": 2, "output_width": 3},
        17,
        17,
    ),
    "STFT": (
        "STFT",
        [floats(2, 64, 1), one(4), floats(16), one(16)],
        {"onesided": 0},
        17,
        1.25,
    ),
    "Tile": ("Tile", [floats(3, 4), whole(2, 5)], {}, 6, 1),
    "TreeEnsembleRegressor": (
        "TreeEnsembleRegressor",
        [floats(2, 2)],
        {**TREES, "n_targets": 5, **LEAF},
        17,
        1,
    ),
    "UnfoldTensor": ("UnfoldTensor", [floats(2, 5)], {**RUNTIME, "dim": 1, "size": 3}, 17, 1.7),
    "Upsample": ("Upsample", [floats(1, 1, 4, 6), np.array([1, 1, 2, 3], np.float32)], {}, 9, 1),
}


HARD = {
    *("BeamSearch", "GreedySearch", "Sampling", "WhisperBeamSearch"),  # contain language models
    *("LinearClassifier", "SVMClassifier", "TreeEnsembleClassifier"),  # have two results
    *("GroupQueryAttention", "TreeEnsemble"),
    *("NhwcConv", "NhwcFusedConv"),  # lack kernels for float32
}


def test_every_operator_has_a_case():
    assert {case[0] for case in CASES.values()} == set(RESULTS) - HARD


def node_and_arrays(name):
    kind, arrays, attributes, opset, slack = CASES[name]
    names = [f"i{k}" if array is not None else "" for k, array in enumerate(arrays)]
    arrays = {n: a for n, a in zip(names, arrays, strict=True) if n}
    proto = op(kind, names, ["y"], **attributes)
    return proto, {n: np.asarray(a) for n, a in arrays.items()}, opset, slack


def model_of(proto, arrays, opset):
    domains = [proto.domain] if proto.domain else []
    return make_model([proto], typed(arrays), ["y"], opset=opset, domains=domains)


def typed(arrays):
    kinds = {name: onnx.helper.np_dtype_to_tensor_dtype(a.dtype) for name, a in arrays.items()}
    return [value(name, array.shape, kinds[name]) for name, array in arrays.items()]


def by_the_table(proto, arrays, opset):
    """Return the elements that a file fixes which has all inputs as constants."""
    scope = Scope(Origin(opset, {"": opset}))
    for name, array in arrays.items():
        scope.tensors[name] = numpy_helper.from_array(array, name)
        scope.types[name] = tensor_type(scope.tensors[name].data_type, array.shape)
    node = node_of(proto, 0, opset)
    result = result_of(node.operator, opset)
    numbers = {p: arrays[node.inputs[p]] for p in result.numbers if node.has_input(p)}
    found = Known(node, scope, numbers)
    made = float(result.elements(found))
    assert found.complete
    return made


def by_the_guard(proto, arrays, opset):
    """Return the elements that the nodes of a guard compute."""
    result = result_of(proto.op_type, opset)
    maker = Computed(proto, opset, result.scalar)
    total = result.elements(maker)
    model = make_model(
        maker.nodes, typed(arrays), [value(total.name, ())], opset=max(opset, OLDEST)
    )
    return float(runtime(model, arrays)[total.name])


@pytest.mark.parametrize("name", CASES)
def test_the_table_is_what_the_operators_return(name):
    proto, arrays, opset, slack = node_and_arrays(name)
    really = runtime(model_of(proto, arrays, opset), arrays)["y"].size
    expected = by_the_table(proto, arrays, opset)
    assert really <= expected * (1 + 1e-9) <= slack * really * (1 + 1e-6)
    if name == "Resize to sizes":  # a guard does not know that an input has no elements
        assert "i3" in proto.input
    assert by_the_guard(proto, arrays, opset) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_honest_nodes_pass_their_guards(name):
    """With all numbers as inputs, so that only a run knows them."""
    proto, arrays, opset, _ = node_and_arrays(name)
    opset = max(opset, OLDEST)
    model = model_of(proto, arrays, opset)
    found = lc_onnx.load(model).run(arrays)["y"]
    np.testing.assert_array_equal(found, runtime(model, arrays)["y"])


BATCH, LENGTH, BEAMS, WORDS = 3, 448, 5, 51865


@pytest.mark.parametrize("kind", ["BeamSearch", "WhisperBeamSearch", "GreedySearch", "Sampling"])
def test_scores_of_searches_count_where_they_are_wanted(kind):
    """As Whisper has it: scores of all words are held for one step, or returned for all."""
    arrays = {
        "x": np.zeros((BATCH, 80, 30), np.float32),
        **{name: np.array([n], np.int32) for name, n in (("a", LENGTH), ("b", 0), ("c", BEAMS))},
    }
    searches = "Beam" in kind
    rows = BATCH * BEAMS if searches else BATCH
    for outputs in (["y"], ["y", "p"], ["y", "", "scores"]) if searches else (["y"],):
        proto = op(kind, arrays, outputs, vocab_size=WORDS, **RUNTIME)
        expected = rows * (LENGTH * WORDS if "scores" in outputs else LENGTH + WORDS)
        assert by_the_table(proto, arrays, 17) == expected
        assert by_the_guard(proto, arrays, 17) == pytest.approx(expected, rel=1e-5)


# ---- refused when it runs ------------------------------------------------------------------------

LARGE = {
    "Pad on two axes": ("Pad", floats(1, 1), whole(0, 0, 600, 600), []),
    "Pad of a large input": ("Pad", floats(600, 1), whole(0, 0, 0, 600), []),
    "Tile of a large input": ("Tile", floats(600, 1), whole(1, 600), []),
    "Expand across": ("Expand", floats(600, 1), whole(1, 600), []),
    "Resize to sizes": ("Resize", floats(300, 1), whole(300, 1200), ["", ""]),
    "Resize by scales": ("Resize", floats(1, 900), np.array([900, 1], np.float32), [""]),
    "CenterCropPad": ("CenterCropPad", floats(1, 1), whole(600, 600), []),
}


@pytest.mark.parametrize("name", LARGE)
@pytest.mark.parametrize("fixed", [False, True], ids=["computed", "fixed"])
def test_results_of_inputs_and_numbers_together(name, fixed):
    """Neither the input nor the numbers are large, or the numbers are not when the model loads."""
    kind, x, numbers, between = LARGE[name]
    node = op(kind, ["x", *between, "n"], ["y"])
    shape = ["a", "b"]
    tensors = [numpy_helper.from_array(numbers, "n")] if fixed else []
    numeric = onnx.helper.np_dtype_to_tensor_dtype(numbers.dtype)
    inputs = [value("x", shape)] + ([] if fixed else [value("n", (numbers.size,), numeric)])
    model = make_model([node], inputs, ["y"], tensors, opset=18)
    feed = {"x": x} if fixed else {"x": x, "n": numbers}
    try:
        loaded = lc_onnx.load(model, memory_limit=MIB)
        if fixed and np.prod(np.maximum(numbers, 1)) < 4096:
            return  # a factor that is too small for a guard
        with pytest.raises(ValueError, match=rf"\({kind}\): expected an output of at most 1 MiB"):
            loaded.run(feed)
    except ValueError as error:
        assert fixed
        assert f"({kind}): expected an output of at most 1 MiB" in str(error)
    enough = lc_onnx.load(model, memory_limit=8 * MIB).run(feed)["y"]
    assert MIB < enough.nbytes <= 8 * MIB


def test_what_is_no_larger_than_the_input_passes():
    for kind, numbers in (
        ("Tile", whole(1, 1)),
        ("Expand", whole(600, 1)),
        ("Pad", whole(*[0] * 4)),
    ):
        node = op(kind, ["x", "n"], ["y"])
        model = make_model([node], [value("x", ("a", "b")), value("n", ("k",), INT64)], ["y"])
        x = floats(600, 600)
        loaded = lc_onnx.load(model, memory_limit=MIB)
        assert loaded.run({"x": x, "n": numbers})["y"].nbytes == x.nbytes > MIB


@pytest.mark.parametrize(("width", "kind"), [(4, TensorProto.FLOAT), (8, TensorProto.DOUBLE)])
def test_limits_are_of_bytes(width, kind):
    zero = onnx.helper.make_tensor("v", kind, [1], [0])
    nodes = [op("ConstantOfShape", ["n"], ["a"], value=zero), op("ReduceMax", ["a"], ["y"])]
    loaded = lc_onnx.load(make_model(nodes, [value("n", (1,), INT64)], ["y"]), memory_limit=MIB)
    assert loaded.run({"n": whole(MIB // width)})["y"].max() == 0
    with pytest.raises(ValueError, match=r"\(ConstantOfShape\): .* at most 1 MiB, got more"):
        loaded.run({"n": whole(MIB // width + 8)})
    model = make_model(nodes, [], ["y"], [ints("n", MIB // width + 8)])
    with pytest.raises(ValueError, match=r"\(ConstantOfShape\): .* at most 1 MiB, got 1 MiB"):
        lc_onnx.load(model, memory_limit=MIB)


def test_matrices_of_two_moderate_numbers():
    node = op("MelWeightMatrix", ["bins", "n", "rate", "low", "high"], ["y"])
    rest = [tensor("rate", 8000, np.int64), tensor("low", 0.0), tensor("high", 4000.0)]
    large = [tensor("bins", 20_000, np.int64), tensor("n", 100_000, np.int64)]
    model = make_model([node, op("ReduceMax", ["y"], ["z"])], [], ["z"], [*large, *rest])
    with pytest.raises(ValueError, match=r"\(MelWeightMatrix\): expected an output of at most"):
        lc_onnx.load(model)


# ---- ranges between large numbers ----------------------------------------------------------------

TIME = 1_790_000_050_936_479_739
"""Nanoseconds since 1970."""


def range_between(kind):
    """Make a model that counts the numbers of a Range from an input to an input."""
    nodes = [op("Range", ["a", "b", "c"], ["r"]), op("Size", ["r"], ["y"])]
    return make_model(nodes, [value(name, (), kind) for name in "abc"], ["y"])


@pytest.mark.parametrize(
    ("kind", "start", "count"),
    [
        *((INT64, TIME, 10), (INT64, -TIME, 10), (INT64, 1 << 60, 1000), (INT64, 0, 1000)),
        *((TensorProto.DOUBLE, 2.0**52, 10), (TensorProto.FLOAT, 2.0**23, 10)),
        *((TensorProto.INT32, 1 << 30, 10), (TensorProto.INT16, 30_000, 10)),
    ],
)
def test_ranges_of_large_numbers(kind, start, count):
    dtype = onnx.helper.tensor_dtype_to_np_dtype(kind)
    loaded = lc_onnx.load(range_between(kind), memory_limit=MIB)
    feed = {"a": np.array(start, dtype), "b": np.array(start + count, dtype)}
    assert loaded.run({**feed, "c": np.array(1, dtype)})["y"] == count
    numbers = [tensor("a", start, dtype), tensor("b", start + count, dtype), tensor("c", 1, dtype)]
    fixed = make_model([op("Range", ["a", "b", "c"], ["r"]), op("Size", ["r"], ["y"])], [], ["y"])
    fixed.graph.initializer.extend(numbers)
    assert lc_onnx.load(fixed, memory_limit=MIB).run({})["y"] == count


@pytest.mark.parametrize(
    ("start", "limit"),
    [(1 << 60, (1 << 60) + (1 << 29)), (TIME, TIME + (1 << 20)), (-(1 << 62), 1 << 62)],
)
def test_ranges_of_large_numbers_that_are_too_long(start, limit):
    loaded = lc_onnx.load(range_between(INT64), memory_limit=MIB)
    with pytest.raises(ValueError, match=r"\(Range\): expected an output of at most 1 MiB"):
        loaded.run({"a": one(start), "b": one(limit), "c": one(1)})


# ---- NaN -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite(number):
    node = op("Resize", ["x", "", "n"], ["y"])
    model = make_model([node], [value("x", ("a", "b")), value("n", (2,))], ["y"], opset=18)
    with pytest.raises(ValueError, match=r"\(Resize\)"):
        lc_onnx.load(model).run({"x": floats(2, 2), "n": np.array([1, number], np.float32)})
    node = op("Range", ["a", "b", "c"], ["y"])
    model = make_model([node], [value(name, ()) for name in "abc"], ["y"])
    feed = dict(zip("abc", np.array([0, number, 1], np.float32), strict=True))
    if number > 0 or np.isnan(number):
        with pytest.raises(ValueError, match=r"\(Range\): expected an output of at most"):
            lc_onnx.load(model).run({name: np.asarray(entry) for name, entry in feed.items()})


def test_no_guard_casts_a_float_to_an_integer():
    """The result for NaN, and for what is too large, differs between processors."""
    from lstmcore.onnx.guards import guard_graph

    for name in CASES:
        proto, arrays, opset, _ = node_and_arrays(name)
        opset = max(opset, OLDEST)
        graph = make_model([proto], typed(arrays), ["y"], opset=opset).graph
        guard_graph(graph, opset, {}, ["y"])
        made = {output: entry for entry in graph.node for output in entry.output}
        casts = [entry for entry in graph.node if entry.op_type == "Cast"]
        to_integers = [entry for entry in casts if entry.attribute[0].i == TensorProto.INT64]
        assert to_integers, name
        assert {made[entry.input[0]].op_type for entry in to_integers} == {"Not"}
