"""Models of images: ordinary ones run as they are, whatever the batch."""

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

from lstmcore import onnx as lc_onnx  # noqa: E402
from lstmcore.onnx import guards  # noqa: E402
from onnx_kit import BOOL, INT64, branches, make_model, op, runtime, tensor, value  # noqa: E402

IMAGE = ("n", 3, 224, 224)
RUNTIMES = "com.microsoft"
MIB = 1 << 20


@pytest.fixture
def guarded(monkeypatch):
    """The operators of the nodes that got a guard."""
    found = []
    original = guards._guarded

    def counting(proto, *rest):
        nodes = original(proto, *rest)
        found.extend([proto.op_type] if nodes else [])
        return nodes

    monkeypatch.setattr(guards, "_guarded", counting)
    return found


def draw(*shape, seed=0):
    return np.random.default_rng(seed).normal(0, 0.3, shape).astype(np.float32)


def network(kind="Conv", image=IMAGE, opset=17):
    """Make a model of convolutions and pools with pads, and what else lies between them."""
    own = {"domain": RUNTIMES, "activation": "Relu"} if kind == "FusedConv" else {}
    nodes = [
        op("Pad", ["x", "margin"], ["a"]),
        op(kind, ["a", "w0"], ["b"], pads=[1] * 4, **own),
        op("LRN", ["b"], ["c"], size=5),
        op("MaxPool", ["c"], ["d"], kernel_shape=[3, 3], pads=[1] * 4),
        op(kind, ["d", "w1"], ["e"], pads=[1] * 4, strides=[2, 2], **own),
        op("AveragePool", ["e"], ["f"], kernel_shape=[3, 3], pads=[1] * 4, strides=[2, 2]),
        op("ConvTranspose", ["f", "w2"], ["g"], strides=[2, 2]),
        op("Resize", ["g", "", "twice"], ["h"]),
        op("GlobalAveragePool", ["h"], ["y"]),
    ]
    weights = [
        *(tensor("w0", draw(4, 3, 3, 3)), tensor("w1", draw(2, 4, 3, 3))),
        *(tensor("w2", draw(2, 1, 2, 2)), tensor("margin", [0, 0, 1, 1] * 2, np.int64)),
        tensor("twice", [1, 1, 2, 2]),
    ]
    return make_model(nodes, [value("x", image)], ["y"], weights, opset, [RUNTIMES] if own else [])


@pytest.mark.parametrize("kind", ["Conv", "FusedConv"])
@pytest.mark.parametrize("rows", ["n", 2])
def test_ordinary_networks_get_no_guards(kind, rows, guarded):
    model = network(kind, (rows, *IMAGE[1:]))
    x = draw(2, 3, 224, 224)
    found = lc_onnx.load(model).run({"x": x})["y"]
    np.testing.assert_array_equal(found, runtime(model, {"x": x})["y"])
    assert guarded == []


def test_branches_and_loops_with_convolutions_get_no_guards(guarded):
    then = [op("Conv", ["x", "w"], ["t"], pads=[1] * 4)]
    graphs = branches(then, [op("MaxPool", ["x"], ["e"], kernel_shape=[3, 3], pads=[1] * 4)])
    body = onnx.helper.make_graph(
        [
            op("Conv", ["v", "w"], ["v1"], pads=[1] * 4),
            op("Identity", ["c"], ["on"]),
        ],
        "body",
        [value("i", (), INT64), value("c", (), BOOL), value("v", IMAGE)],
        [value("on", (), BOOL), value("v1", IMAGE)],
    )
    nodes = [
        op("If", ["flag"], ["a"], **graphs),
        op("Loop", ["turns", "", "a"], ["y"], body=body),
    ]
    inputs = [value("x", IMAGE), value("flag", (), BOOL)]
    constants = [tensor("w", draw(3, 3, 3, 3)), tensor("turns", 2, np.int64)]
    model = make_model(nodes, inputs, ["y"], constants)
    feed = {"x": draw(1, 3, 224, 224), "flag": np.array(True)}
    found = lc_onnx.load(model).run(feed)["y"]
    np.testing.assert_array_equal(found, runtime(model, feed)["y"])
    assert guarded == []


def test_categories_of_many_features_get_no_guards(guarded):
    """A thousand times the rows, where a row is known to have a hundred numbers."""
    node = op("OneHot", ["x", "depth", "values"], ["y"])
    constants = [tensor("depth", 1000, np.int64), tensor("values", [0.0, 1.0])]
    model = make_model([node], [value("x", ("n", 100), INT64)], ["y"], constants)
    x = np.arange(200).reshape(2, 100)
    assert lc_onnx.load(model).run({"x": x})["y"].sum() == 200
    assert guarded == []


def test_large_batches_are_not_limited():
    model = network("Conv")
    x = draw(6, 3, 224, 224)
    assert x.nbytes * 4 // 3 > MIB
    found = lc_onnx.load(model, memory_limit=4 * MIB).run({"x": x})["y"]
    np.testing.assert_array_equal(found, runtime(model, {"x": x})["y"])


def test_old_versions_of_padded_convolutions_are_read():
    nodes = [
        op("Conv", ["x", "w"], ["a"], pads=[1] * 4),
        op("MaxPool", ["a"], ["y"], kernel_shape=[3, 3], pads=[1] * 4),
    ]
    model = make_model(nodes, [value("x", IMAGE)], ["y"], [tensor("w", draw(2, 3, 3, 3))], opset=5)
    assert lc_onnx.load(model).run({"x": draw(2, 3, 224, 224)})["y"].shape == (2, 2, 224, 224)


# ---- bytes in the place of numbers ---------------------------------------------------------------


def quantized(image, margin, **attributes):
    """Make a convolution as quantizers write it, between bytes that stand for numbers."""
    nodes = [
        op("QuantizeLinear", ["x", "s", "z"], ["xq"]),
        op("DequantizeLinear", ["xq", "s", "z"], ["a"]),
        op("DequantizeLinear", ["wq", "ws", "wz"], ["w"]),
        op("Conv", ["a", "w"], ["b"], pads=[margin] * 4, **attributes),
        op("QuantizeLinear", ["b", "s", "z"], ["bq"]),
        op("DequantizeLinear", ["bq", "s", "z"], ["y"]),
    ]
    random = np.random.default_rng(0)
    channels = image[1]
    constants = [
        *(tensor("s", 0.037), tensor("z", 120, np.uint8), tensor("ws", 0.0113)),
        tensor("wz", 0, np.int8),
        tensor("wq", random.integers(-127, 128, (8, channels, 3, 3)), np.int8),
    ]
    return make_model(nodes, [value("x", image)], ["y"], constants)


@pytest.mark.parametrize(
    ("image", "margin"),
    [(("n", 3, 64, 64), 1), ((2, 3, 64, 64), 1), (("n", 1, "h", "w"), 40)],
    ids=["batch", "fixed", "guarded"],
)
def test_quantized_convolutions_have_the_same_bits(image, margin, guarded):
    """ONNX Runtime computes them with bytes, with or without guards."""
    model = quantized(image, margin)
    x = draw(2, image[1], 64, 64) * 4
    found = lc_onnx.load(model).run({"x": x})["y"]
    np.testing.assert_array_equal(found, runtime(model, {"x": x})["y"])
    assert guarded == (["Conv"] if margin > 1 else [])


def test_margins_of_quantized_convolutions_are_limited():
    model = quantized(("n", 1, "h", "w"), 200, strides=[2, 2])
    loaded = lc_onnx.load(model, memory_limit=3 * MIB // 2)
    with pytest.raises(ValueError, match=r"\(Conv\): expected an output of at most 1.5 MiB"):
        loaded.run({"x": draw(1, 1, 64, 64)})
    large = loaded.run({"x": draw(3, 1, 512, 512)})["y"]  # no more than the input for each channel
    assert large.shape == (3, 8, 455, 455)
    assert large.nbytes > 3 * MIB // 2
