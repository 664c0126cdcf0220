"""Operators of ONNX Runtime's own run if their results have a size that is known."""

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

from onnx import helper  # noqa: E402

from lstmcore import onnx as lc_onnx  # noqa: E402
from lstmcore.onnx import sizes  # noqa: E402
from lstmcore.onnx.contrib import RUNTIMES, SIZED  # noqa: E402
from lstmcore.onnx.result_sizes import RESULTS  # noqa: E402
from onnx_kit import FLOAT, INT64, make_model, op, runtime, tensor, value  # noqa: E402

INT32, UINT8 = onnx.TensorProto.INT32, onnx.TensorProto.UINT8


def own(kind, inputs, outputs=("y",), **attributes):
    return helper.make_node(kind, list(inputs), list(outputs), domain=RUNTIMES, **attributes)


def model(nodes, inputs, outputs=("y",), constants=()):
    return make_model(nodes, inputs, list(outputs), constants, domains=[RUNTIMES])


def draw(*shape):
    return np.random.default_rng(0).normal(0, 1, shape).astype(np.float32)


HALF = [tensor("s", 0.5), tensor("z", 3, np.uint8)]
USED = {
    "FusedMatMul": ([own("FusedMatMul", "xx", transB=1)], []),
    "Gelu": ([own("Gelu", "x")], []),
    "FastGelu": ([own("FastGelu", ["x", "b"])], [tensor("b", np.ones(4))]),
    "BiasGelu": ([own("BiasGelu", ["x", "b"])], [tensor("b", np.ones(4))]),
    "SkipLayerNormalization": (
        [own("SkipLayerNormalization", ["x", "x", "g", "b"])],
        [tensor("g", np.ones(4)), tensor("b", np.ones(4))],
    ),
    "QLinearAdd": (
        [
            op("QuantizeLinear", ["x", "s", "z"], ["q"]),
            own("QLinearAdd", ["q", "s", "z", "q", "s", "z", "s", "z"]),
        ],
        HALF,
    ),
    "DynamicQuantizeMatMul": (
        [own("DynamicQuantizeMatMul", ["x", "w", "s", "z"])],
        [tensor("w", np.arange(12).reshape(4, 3), np.uint8), *HALF],
    ),
    "MultiHeadAttention": ([own("MultiHeadAttention", "xxx", num_heads=2)], []),
}


@pytest.mark.parametrize("kind", USED)
def test_models_that_people_have(kind):
    nodes, constants = USED[kind]
    made = model(nodes, [value("x", ("n", "t", 4))], constants=constants)
    x = draw(2, 3, 4)
    np.testing.assert_array_equal(lc_onnx.load(made)(x), runtime(made, {"x": x})["y"])


def attention(total):
    """Make a model whose attention remembers as many steps as an input says."""
    names = ["x", "x", "x", "", "", "last", "total"]
    node = own("GroupQueryAttention", names, ["y", "k", "v"], num_heads=1, kv_num_heads=1)
    inputs = [value("x", (1, "t", 8)), value("last", (1,), INT32), value("total", (), INT32)]
    feed = {"x": draw(1, 3, 8), "last": np.array([2], np.int32), "total": np.array(total, np.int32)}
    return model([node], inputs, ["y", "k"]), feed


def test_attention_that_remembers():
    made, feed = attention(3)
    found, expected = lc_onnx.load(made).run(feed), runtime(made, feed)
    for name in ("y", "k"):
        np.testing.assert_array_equal(found[name], expected[name])
    made, feed = attention(1 << 30)
    with pytest.raises(ValueError, match=r"\(GroupQueryAttention\): expected an output of at most"):
        lc_onnx.load(made).run(feed)


def test_results_that_numbers_make():
    """The size is constant, and is not: in both cases only a run knows what it makes."""
    names, inputs = ["x", "boxes", "places", "size"], [value("x", ("n", "c", "h", "w"))]
    boxes = [tensor("boxes", [[0, 0, 1, 1]]), tensor("places", [0], np.int32)]
    sizes = [tensor("size", [30_000, 30_000], np.int32), tensor("size", [3, 2], np.int32)]
    x = draw(1, 1, 2, 2)
    for large, size in zip((True, False), sizes, strict=True):
        fixed = model([own("CropAndResize", names)], inputs, constants=[*boxes, size])
        given = model(
            [own("CropAndResize", names)], [*inputs, value("size", (2,), INT32)], (), boxes
        )
        given.graph.output.append(onnx.ValueInfoProto(name="y"))
        array = onnx.numpy_helper.to_array(size)
        for made, feed in ((fixed, {"x": x}), (given, {"x": x, "size": array})):
            loaded = lc_onnx.load(made)
            if large:
                with pytest.raises(ValueError, match=r"\(CropAndResize\): expected an output of"):
                    loaded.run(feed)
            else:
                np.testing.assert_array_equal(loaded.run(feed)["y"], runtime(made, feed)["y"])


def test_operators_whose_results_may_have_any_size_are_refused_by_name():
    made = model([own("RelativePositionBias", ["x", "n", "n"])], ["x", value("n", (), INT64)])
    with pytest.raises(ValueError, match=r"RelativePositionBias\): .* known size"):
        lc_onnx.load(made)
    body = {"body": helper.make_graph(made.graph.node, "body", [], [value("y")])}
    nested = op("If", ["flag"], ["r"], then_branch=body["body"], else_branch=body["body"])
    inputs = ["x", value("n", (), INT64), value("flag", (), onnx.TensorProto.BOOL)]
    with pytest.raises(ValueError, match=r"RelativePositionBias\): .* known size"):
        lc_onnx.load(model([nested], inputs, ["r"]))
    assert "RelativePositionBias" not in SIZED


@pytest.mark.parametrize("constant", [False, True])
def test_a_limit_of_memory_admits_operators_of_which_nothing_is_known(monkeypatch, constant):
    """Such as those of a later version of ONNX Runtime."""
    monkeypatch.setattr(sizes, "SIZED", SIZED - {"QuickGelu"})
    nodes = [own("QuickGelu", ["w" if constant else "x"], ["g"]), op("Add", ["x", "g"], ["y"])]
    made = model(nodes, ["x"], constants=[tensor("w", draw(2000))])
    with pytest.raises(ValueError, match=r"memory_limit of \S+ \(such as 1073741824\) allows it"):
        lc_onnx.load(made)
    feed = {"x": draw(2000)}
    found = lc_onnx.load(made, memory_limit=1 << 30).run(feed)["y"]
    np.testing.assert_array_equal(found, runtime(made, feed)["y"])


def test_every_operator_with_windows_has_its_size():
    """By the operators' schemas in ONNX Runtime, as far as it shows them."""
    state = pytest.importorskip("onnxruntime.capi.onnxruntime_pybind11_state")
    if not hasattr(state, "get_all_operator_schema"):
        pytest.skip("this ONNX Runtime does not show its operators")
    windows = {"pads", "strides", "output_shape", "kernel_shape", "output_padding"}
    found = {
        schema.name
        for schema in state.get_all_operator_schema()
        if schema.domain == "com.microsoft" and not windows.isdisjoint(schema.attributes)
    }
    assert "NhwcMaxPool" in found
    assert found.isdisjoint(SIZED)
    assert found <= set(RESULTS)


# ---- attributes that multiply --------------------------------------------------------------------


def aligned(**attributes):
    node = op("RoiAlign", ["x", "boxes", "rows"], ["y"], **attributes)
    return node, [tensor("rows", [0], np.int64)]


def test_points_between_others_are_counted():
    attributes = {"output_height": 3, "output_width": 3}
    node, rows = aligned(sampling_ratio=4000, **attributes)
    image, box = tensor("x", np.ones((1, 1, 2, 2))), tensor("boxes", [[0, 0, 1, 1]])
    refused = r"\(RoiAlign\): expected an output of at most 1 GiB"
    with pytest.raises(ValueError, match=refused):
        lc_onnx.load(make_model([node], [], ["y"], [image, box, *rows]))
    with pytest.raises(ValueError, match=refused):
        lc_onnx.load(make_model([node], [value("x", (1, 1, 2, 2))], ["y"], [box, *rows]))
    inputs = [value("x", (1, "c", "h", "w")), value("boxes", ("n", 4))]
    feed = {"x": draw(1, 1, 2, 2), "boxes": np.array([[0, 0, 1, 1]], np.float32)}
    with pytest.raises(ValueError, match=refused):
        lc_onnx.load(make_model([node], inputs, ["y"], rows)).run(feed)
    node, rows = aligned(sampling_ratio=0, **attributes)  # points as dense as those of the input
    dense = make_model([node], inputs, ["y"], rows)
    np.testing.assert_array_equal(lc_onnx.load(dense).run(feed)["y"], runtime(dense, feed)["y"])
    with pytest.raises(ValueError, match=refused):
        lc_onnx.load(dense).run({**feed, "boxes": np.array([[0, 0, 1e5, 1e5]], np.float32)})
    none = {**feed, "boxes": np.zeros((0, 4), np.float32)}
    none_rows = make_model([node], [*inputs, value("rows", ("n",), INT64)], ["y"])
    none["rows"] = np.zeros(0, np.int64)
    assert lc_onnx.load(none_rows).run(none)["y"].shape == (0, 1, 3, 3)


def test_what_words_are_skipped():
    attributes = {"mode": "TF", "min_gram_length": 1, "max_gram_length": 2}
    attributes |= {"ngram_counts": [0, 1], "ngram_indexes": [0, 1], "pool_int64s": [1, 2, 3]}
    inputs = [value("x", ("n",), INT64)]
    x = np.array([1, 2, 3, 2], np.int64)
    for skips in (1, (1 << 31) - 1):
        node = op("TfIdfVectorizer", max_skip_count=skips, **attributes)
        made = make_model([node], inputs, ["y"])
        if skips == 1:
            np.testing.assert_array_equal(lc_onnx.load(made)(x), runtime(made, {"x": x})["y"])
            continue
        with pytest.raises(ValueError, match=r"max_skip_count: expected at most 1024"):
            lc_onnx.load(made)


def test_windows_and_their_margins():
    """The shape of the input is not known, nor that of the result."""
    cases = {
        "Conv": (op("Conv", ["x", "w"], pads=[10_000, 0, 0, 10_000]), (3, 1, 2, 3)),
        "ConvTranspose": (op("ConvTranspose", ["x", "w"], strides=[9000, 9000]), (1, 1, 3, 3)),
        "LRN": (op("LRN", ["x"], size=10_000_001), (1, 1, 20, 20)),
        "MaxRoiPool": (op("MaxRoiPool", ["x", "b"], pooled_shape=[9000, 9000]), (1, 5, 2, 2)),
        "Multinomial": (op("Multinomial", ["x"], sample_size=1 << 27), (3, 2)),
    }
    constants = [tensor("w", np.ones((1, 1, 1, 1))), tensor("b", [[0, 0, 0, 1, 1]])]
    for kind, (node, shape) in cases.items():
        loaded = lc_onnx.load(make_model([node], ["x"], ["y"], constants))
        with pytest.raises(ValueError, match=rf"\({kind}\): expected an output of at most 1 GiB"):
            loaded.run({"x": np.ones(shape, np.float32)})


@pytest.mark.parametrize("kind", ["NhwcMaxPool", "QLinearAveragePool", "MaxpoolWithMask"])
@pytest.mark.parametrize("shape", [(1, 40, 40, 1), None], ids=["fixed", "unknown"])
def test_windows_of_operators_of_onnx_runtime(kind, shape):
    """Whether channels are the last axis or the first."""
    element = FLOAT if kind == "MaxpoolWithMask" else UINT8
    inputs, names = [value("x", shape, element)], ["x"]
    constants = [tensor("s", 1.0), tensor("z", 0, np.uint8)]
    if kind == "QLinearAveragePool":
        names += ["s", "z", "s", "z"]
    if kind == "MaxpoolWithMask":
        names.append("mask")
        inputs.append(value("mask", shape, onnx.TensorProto.INT32))
    last = {"channels_last": 1} if kind == "QLinearAveragePool" else {}

    def made(side, margin):
        window = {"kernel_shape": [side, side], "pads": [margin] * 4}
        return model([own(kind, names, **window, **last)], inputs, constants=constants)

    dtype = np.float32 if element == FLOAT else np.uint8
    feed = {"x": np.ones((1, 40, 40, 1), dtype), "mask": np.ones((1, 40, 40, 1), np.int32)}
    feed = {name: feed[name] for name in names if name in feed}
    small = made(3, 1)
    np.testing.assert_array_equal(lc_onnx.load(small).run(feed)["y"], runtime(small, feed)["y"])
    with pytest.raises(ValueError, match=rf"{kind}\): expected an output of at most"):
        lc_onnx.load(made(20_001, 20_000)).run(feed)
    if kind == "NhwcMaxPool":  # for the pointers into its windows
        with pytest.raises(ValueError, match=rf"{kind}\): expected an output of at most 1 GiB"):
            lc_onnx.load(made(3001, 3000)).run(feed)


# ---- what ends the process -----------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["RoiAlign", "MaxRoiPool"])
def test_regions_of_what_is_no_image(kind):
    """ONNX Runtime takes four axes for granted, and ends the process where there are fewer."""
    if kind == "RoiAlign":
        node, rows = aligned(sampling_ratio=2)
        constants = [tensor("boxes", [[0, 0, 1, 1]]), *rows]
    else:
        node = op(kind, ["x", "boxes"], ["y"], pooled_shape=[2, 2])
        constants = [tensor("boxes", [[0, 0, 0, 1, 1]])]
    loaded = lc_onnx.load(make_model([node], ["x"], ["y"], constants))
    fewer = rf"node 'y' \({kind}\): expected an input with at least \d axes, got fewer"
    for shape in ((), (1,), (1, 1), (1, 1, 2)):
        with pytest.raises(ValueError, match=fewer):
            loaded.run({"x": np.ones(shape, np.float32)})
        with pytest.raises(
            ValueError, match="expected an input with at least 4 axes|refuses|ShapeInference"
        ):
            lc_onnx.load(make_model([node], [value("x", shape)], ["y"], constants))
        fixed = tensor("x", np.ones(shape))
        with pytest.raises(
            ValueError, match="expected an input with at least 4 axes|refuses|ShapeInference"
        ):
            lc_onnx.load(make_model([node], [], ["y"], [fixed, *constants]))
    graph = helper.make_graph([node], "then", [], [value("y")])
    branch = op("If", ["flag"], ["r"], then_branch=graph, else_branch=graph)
    inputs = ["x", value("flag", (), onnx.TensorProto.BOOL)]
    within = lc_onnx.load(make_model([branch], inputs, ["r"], constants))
    with pytest.raises(ValueError, match=fewer):
        within.run({"x": np.ones(3, np.float32), "flag": np.array(True)})
    assert loaded.run({"x": np.ones((1, 1, 2, 2), np.float32)})["y"].shape[:2] == (1, 1)


NUMBERS = {
    "DFT": op("DFT", ["x"]),
    "GridSample": op("GridSample", ["x", "one"]),
    "Multinomial": op("Multinomial", ["x"]),
    "ReverseSequence": op("ReverseSequence", ["x", "lengths"]),
    "STFT": op("STFT", ["x", "step", "one", "step"]),
    "STFT by a number": op("STFT", ["x", "step", "number", "step"]),
}


@pytest.mark.parametrize("kind", NUMBERS)
def test_numbers_in_the_place_of_arrays(kind):
    constants = [tensor("one", [1.0]), tensor("lengths", [1], np.int64), tensor("number", 1.0)]
    constants.append(tensor("step", 1, np.int64))
    made = make_model([NUMBERS[kind]], ["x"], ["y"], constants, opset=20)
    x = np.ones((1, 4, 1), np.float32) if "number" in kind else np.array(1, np.float32)
    with pytest.raises(
        ValueError, match=r"node 'y' \(\w+\): expected an input with at least \d axes"
    ):
        lc_onnx.load(made).run({"x": x})
