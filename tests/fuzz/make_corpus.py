"""Write the small files that fuzzing starts from: `python tests/fuzz/make_corpus.py`.

Files whose names begin with "find" are inputs that fuzzing found; they stay as they are.
"""

import gzip
import json
import random
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
TESTS = FOLDER.parent
sys.path.append(str(TESTS / "python"))

import numpy as np  # noqa: E402
from mutators import archive  # noqa: E402

import lstmcore as lc  # noqa: E402

CORPUS = FOLDER / "corpus"


# ---- lstmcore's own files ------------------------------------------------------------------------


def compiled(model, x, y):
    model.compile(optimizer="adam", loss="mse")
    model.fit(x, y, epochs=1, verbose=0)
    return model


def model_files():
    layers, x = lc.layers, np.ones((4, 3, 2), np.float32)
    sequential = lc.Sequential
    yield "lstm", compiled(sequential([layers.LSTM(2), layers.Dense(1)], seed=0), x, x[:, 0, :1])
    wrapped = [
        layers.Conv1D(2, 2),
        layers.Bidirectional(layers.LSTM(2, return_sequences=True, peephole=True)),
        layers.Residual(layers.RNN(layers.LSTMCell(2), return_sequences=True), projection=True),
        layers.Attention(),
    ]
    yield "wrapped", built(sequential(wrapped, seed=1, dtype="float64"), (None, None, 2))
    ids = [layers.Embedding(5, 2, mask_zero=True), layers.LSTM(2, layer_norm=True, proj_size=1)]
    yield "ids", built(sequential(ids, seed=2), (None, None))
    small = built(
        sequential([layers.LSTM(3, num_layers=2), layers.Dense(2)], seed=3), (None, None, 2)
    )
    yield "quantized", lc.quantize(small)
    words = layers.TextVectorization(vocabulary=["", "[UNK]", "a", "b"])
    texts = [words, layers.Embedding(4, 2), layers.SimpleRNN(2), layers.Dense(1)]
    yield "texts", built(sequential(texts, seed=4), None)
    one = layers.Input((None, 2))
    shared = layers.LSTM(2)
    yield (
        "graph",
        lc.Model([one], [layers.Dense(1)(shared(one)), layers.Dense(2)(shared(one))], seed=5),
    )
    yield "pair", lc.EncoderDecoder(4, 5, embedding_size=2, units=2, seed=6)
    yield from chains(layers)
    yield from graphs(layers)


def chains(layers):
    """Yield models of the layers that stand one after another, several at a time."""
    x = np.ones((2, 4, 2), np.float32)
    scale = layers.Normalization()
    scale.adapt(x * np.arange(4)[:, None])
    for name, shape, chain in (
        (
            "windows",
            (None, None, 2),
            [
                layers.Masking(),
                layers.MaxPooling1D(2, 1, "same"),
                layers.AveragePooling1D(2, 1, "same"),
                layers.TimeDistributed(layers.Dense(2)),
                layers.GlobalMaxPooling1D(),
                layers.RepeatVector(2),
                layers.GlobalAveragePooling1D(),
            ],
        ),
        (
            "shapes",
            (None, 4, 2),
            [
                layers.Permute((2, 1)),
                layers.Reshape((4, 2)),
                layers.LayerNormalization(),
                layers.BatchNormalization(),
                layers.Flatten(),
                layers.Activation("tanh"),
            ],
        ),
        (
            "noises",
            (None, None, 2),
            [
                scale,
                layers.Rescaling(2.0, 1.0),
                layers.GaussianNoise(0.1),
                layers.SpatialDropout1D(0.1),
                layers.Dropout(0.1),
                layers.CRF(2, forbidden=[(0, 1)]),
            ],
        ),
    ):
        model = lc.Sequential(chain, seed=7)
        model.build(shape)
        yield name, model
    words = layers.TextVectorization(vocabulary=["", "[UNK]", "a", "b"])
    yield "language", lc.LanguageModel(words, 2, embedding=2, seed=8)


def graphs(layers):
    """Yield models of the layers that take several inputs."""
    steps, still = lc.Input((None, 2)), lc.Input((2,))
    one = layers.EALSTM(2)([steps, still])
    joined = [kind()([one, still]) for kind in (layers.Add, layers.Average, layers.Multiply)]
    last = layers.Subtract()([layers.Concatenate()(joined[:2]), layers.Dense(4)(joined[2])])
    yield "joined", lc.Model([steps, still], last, seed=9)


def built(model, shape):
    if shape is not None:
        model.build(shape)
    else:
        model.compile(loss="mse")
        model.fit(["a b", "b"], np.zeros((2, 1), np.float32), epochs=1, verbose=0)
    return model


# ---- Keras ---------------------------------------------------------------------------------------


def write_keras_files(folder):
    import keras2_kit as kit

    files = archive.unpacked((TESTS / "golden" / "keras_model.keras").read_bytes())
    (folder / "keras3.keras").write_bytes(archive.packed(files))
    rng = np.random.default_rng(0)
    chain = kit.first_shape([kit.lstm(rng, "lstm", 2, 2), kit.dense(rng, "dense", 1, 2)], None, 2)
    kit.write(folder / "keras2.h5", chain, kit.sequential("model", chain).document)
    both = kit.bidirectional(
        "both", kit.lstm(rng, "a", 2, 2), kit.lstm(rng, "b", 2, 2, backwards=True)
    )
    branch = [both, kit.dense(rng, "dense", 1, 4)]
    kit.write(folder / "functional.h5", branch, kit.functional("model", branch, (None, 2)).document)


# ---- ONNX ----------------------------------------------------------------------------------------


def onnx_models():
    import onnx
    from onnx import helper

    import onnx_kit as kit

    op, tensor, value = kit.op, kit.tensor, kit.value
    rng = np.random.default_rng(0)

    def draw(name, *shape):
        return tensor(name, rng.normal(0, 0.5, shape))

    weights = [draw("W", 1, 8, 2), draw("R", 1, 8, 2), draw("B", 1, 16)]
    lstm = op("LSTM", ["x", "W", "R", "B"], ["y", "h", "c"], hidden_size=2)
    yield "lstm", kit.make_model([lstm], [value("x", (2, 1, 2))], ["y", "h", "c"], weights)
    nodes = [
        op("Transpose", ["x0"], ["x1"], perm=[0, 2, 1]),
        op("Conv", ["x1", "k"], ["x2"], pads=[1, 1]),
        op("Transpose", ["x2"], ["x"], perm=[2, 0, 1]),
        lstm,
        op("Shape", ["h"], ["s"]),
        op("Expand", ["c", "s"], ["e"]),
        op("Pad", ["e", "pads"], ["p"]),
        op("Tile", ["p", "times"], ["z"]),
    ]
    more = [draw("k", 2, 2, 3), kit.ints("pads", 0, 0, 0, 0, 0, 1), kit.ints("times", 1, 2, 1)]
    yield "cut", kit.make_model(nodes, [value("x0", ("n", "t", 2))], ["z"], [*weights, *more])
    body = helper.make_graph(
        [
            op("Add", ["v", "v"], ["w"]),
            op("Less", ["w", "most"], ["on"]),
            op("Identity", ["w"], ["o"]),
        ],
        "body",
        [value("i", (), kit.INT64), value("b", (), kit.BOOL), value("v", ())],
        [value("on", (), kit.BOOL), value("w", ()), value("o", ())],
    )
    loop = op("Loop", ["turns", "", "x"], ["y", "all"], body=body)
    numbers = [tensor("turns", 5, np.int64), tensor("most", 100.0)]
    yield "loop", kit.make_model([loop], [value("x", ())], ["y", "all"], numbers)
    constants = [
        op("Mul", ["k", "k"], ["n"]),
        op("ConstantOfShape", ["n"], ["zeros"]),
        op("Range", ["first", "last", "step"], ["r"]),
        op("Concat", ["zeros", "r"], ["both"], axis=0),
        op("ReduceMax", ["both"], ["m"], keepdims=0),
        op("Greater", ["m", "first"], ["flag"]),
        op(
            "If",
            ["flag"],
            ["y"],
            **kit.branches([op("Add", ["x", "m"], ["t"])], [op("Neg", ["x"], ["e"])]),
        ),
    ]
    numbers = [kit.ints("k", 2), tensor("first", 0.0), tensor("last", 3.0), tensor("step", 1.0)]
    yield "constants", kit.make_model(constants, [value("x", (2,))], ["y"], numbers)
    inner = helper.make_graph(
        [op("LSTM", ["row", "W", "R"], ["", "g"], hidden_size=2), op("Identity", ["g"], ["o"])],
        "inner",
        [value("s", None), value("row", None)],
        [value("g", None), value("o", None)],
    )
    scan = op("Scan", ["h0", "x"], ["last", "out"], body=inner, num_scan_inputs=1)
    inputs = [value("h0", (1, 1, 2)), value("x", (3, 1, 1, 2))]
    yield "scan", kit.make_model([scan], inputs, ["last", "out"], weights[:2])
    function = helper.make_function(
        "own", "twice", ["a"], ["b"], [op("Add", ["a", "a"], ["b"])], [helper.make_opsetid("", 17)]
    )
    calls = [helper.make_node("twice", ["x"], ["y"], domain="own")]
    yield "function", kit.make_model(calls, ["x"], ["y"], domains=["own"], functions=[function])
    yield from onnx_models_of_constants(kit, helper, onnx.TensorProto.STRING)


def onnx_models_of_constants(kit, helper, text):
    """Yield models whose constants take work, or have sizes that follow from what they hold."""
    op, ones = kit.op, kit.tensor("v", [1.0])
    last = [op("ReduceMax", ["a"], ["m"], keepdims=0), op("Add", ["x", "m"], ["y"])]
    long, short = kit.ints("long", 1, 1, 9), kit.ints("short", 1, 1, 3)
    numbers = [
        op("ConstantOfShape", ["long"], ["b"], value=ones),
        op("ConstantOfShape", ["short"], ["w"], value=ones),
        op("Conv", ["b", "w"], ["c"]),
        op("AveragePool", ["c"], ["p"], kernel_shape=[2]),
    ]
    yield (
        "work",
        kit.make_model([*numbers, op("Exp", ["p"], ["a"]), *last], ["x"], ["y"], [long, short]),
    )
    places = [
        op("ConstantOfShape", ["short"], ["b"], value=ones),
        op("NonZero", ["b"], ["p"]),
        op("Cast", ["p"], ["row"], to=1),
        op("Transpose", ["row"], ["column"]),
        op("MatMul", ["column", "row"], ["a"]),
    ]
    yield "places", kit.make_model([*places, *last], ["x"], ["y"], [short])
    word = helper.make_tensor("word", text, [1], [b"letters"])
    texts = [
        op("Constant", [], ["word"], value=word),
        op("Tile", ["word", "times"], ["words"]),
        op("StringConcat", ["words", "words"], ["longer"]),
        op("Equal", ["words", "longer"], ["same"]),
        op("Cast", ["same"], ["a"], to=1),
    ]
    yield "texts", kit.make_model([*texts, *last], ["x"], ["y"], [kit.ints("times", 3)], opset=20)
    yield "sequences", onnx_model_of_sequences(kit, helper)
    yield "regions", onnx_model_of_regions(kit, helper)


def onnx_model_of_regions(kit, helper):
    """Make a model whose attributes say how large its values are, and how many are held."""
    op, tensor = kit.op, kit.tensor
    size = ["grown", "boxes", "places", "size"]
    nodes = [
        op("RoiAlign", ["a", "boxes", "rows"], ["p"], output_height=2, sampling_ratio=2),
        op("LRN", ["p"], ["l"], size=3),
        op("MaxRoiPool", ["l", "regions"], ["q"], pooled_shape=[2, 2]),
        op("ConvTranspose", ["q", "w"], ["grown"], strides=[2, 2]),
        helper.make_node("CropAndResize", size, ["c"], domain="com.microsoft"),
        op("ReduceMax", ["c"], ["m"], keepdims=0),
        op("Add", ["x", "m"], ["y"]),
    ]
    constants = [
        *(
            tensor("boxes", [[0, 0, 1, 1]]),
            tensor("regions", [[0, 0, 0, 1, 1]]),
            kit.ints("rows", 0),
        ),
        *(tensor("places", [0], np.int32), tensor("size", [2, 3], np.int32)),
        tensor("w", np.ones((1, 1, 1, 1))),
    ]
    inputs = [kit.value("x", (1,)), kit.value("a", (1, 1, 2, 2))]
    return kit.make_model(nodes, inputs, ["y"], constants, domains=["com.microsoft"])


def onnx_model_of_sequences(kit, helper):
    """Make a model that divides a constant, and whose Loop collects sequences and results."""
    op, value = kit.op, kit.value
    body = helper.make_graph(
        [
            op("Identity", ["c"], ["on"]),
            op("Expand", ["x", "short"], ["many"]),
            op("SequenceInsert", ["s", "many"], ["t"]),
        ],
        "body",
        [
            value("i", (), kit.INT64),
            value("c", (), kit.BOOL),
            helper.make_tensor_sequence_value_info("s", kit.FLOAT, None),
        ],
        [
            value("on", (), kit.BOOL),
            helper.make_tensor_sequence_value_info("t", kit.FLOAT, None),
            value("many", None),
        ],
    )
    parts = [
        op("ConstantOfShape", ["long"], ["b"]),
        op("SplitToSequence", ["b", "one"], ["s0"], axis=2),
        op("Loop", ["turns", "", "s0"], ["all", "rows"], body=body),
        op("ConcatFromSequence", ["all"], ["a"], axis=2),
    ]
    parts += [op("ReduceMax", ["a"], ["m"], keepdims=0), op("Add", ["x", "m"], ["y"])]
    sizes = [kit.ints("long", 1, 1, 9), kit.ints("short", 1, 1, 3)]
    counts = [kit.tensor("one", 1, np.int64), kit.tensor("turns", 3, np.int64)]
    return kit.make_model(parts, [value("x", (1,))], ["y"], [*sizes, *counts])


# ---- captures ----------------------------------------------------------------------------------


def captures():
    """Yield one of each format, of LSTMs with two units and a linear output."""
    draw = random.Random(0)

    def array(*shape):
        if not shape:
            return round(draw.gauss(0, 0.5), 2)
        return [array(*shape[1:]) for _ in range(shape[0])]

    config = {"input_size": 1, "hidden_size": 2, "num_layers": 2}
    count = (8 * (1 + 2) + 12) + (8 * (2 + 2) + 12) + 3
    yield (
        "nam",
        {
            "version": "0.5.4",
            "metadata": {"name": "Röhre", "loudness": -20.5, "input_level_dbu": None},
            "architecture": "LSTM",
            "config": config,
            "weights": array(count),
            "sample_rate": 48000,
        },
    )
    lstm = {"type": "lstm", "activation": "tanh", "shape": [None, None, 2]}
    dense = {"type": "dense", "activation": "", "shape": [None, None, 1]}
    yield (
        "rtneural",
        {
            "in_shape": [None, None, 2],
            "in_skip": 1,
            "in_gain": 6.0,
            "out_gain": -3.5,
            "samplerate": 44100,
            "layers": [
                {**lstm, "weights": [array(2, 8), array(2, 8), array(8)]},
                {**dense, "weights": [array(2, 1), array(1)]},
                {"type": "activation", "activation": "tanh"},
            ],
        },
    )
    tensors = {}
    for layer, width in enumerate((1, 2)):
        tensors[f"rec.weight_ih_l{layer}"] = array(8, width)
        tensors[f"rec.weight_hh_l{layer}"] = array(8, 2)
        tensors[f"rec.bias_ih_l{layer}"], tensors[f"rec.bias_hh_l{layer}"] = array(8), array(8)
    tensors |= {"lin.weight": array(1, 2), "lin.bias": array(1)}
    data = {"model": "SimpleRNN", "unit_type": "LSTM", **config, "output_size": 1, "skip": 1}
    yield "state_dict", {"model_data": data, "state_dict": tensors}
    yield "tensors", tensors


# ---- calls of the C interface --------------------------------------------------------------------

CALLS = (
    *("load", "load_memory", "load_wrong_path", "free_model", "get_info", "get_layer"),
    *("output_steps", "forward", "forward_tokens", "create_stream", "free_stream", "step"),
    *("step_tokens", "reset", "get_state", "set_state", "set_threads", "ask_process"),
    "compare_steps",
)
"""Of tests/fuzz/native/c_interface.cpp, in its order."""


def files_of_calls():
    """List the names of the files that programs load by number, as the target sorts them."""
    folders = (CORPUS / "model_files", TESTS / "golden")
    return [path.name for folder in folders for path in sorted(folder.glob("*.safetensors"))]


def calls():
    """Yield programs: each loads one of the files into the first place, and uses it."""
    files = files_of_calls()
    ids, lstm = (files.index(f"{name}.safetensors") for name in ("ids", "lstm"))

    def call(name, *arguments):
        return bytes([CALLS.index(name), *arguments])

    steps = [call("create_stream", 0, 2, 0, 0, 0)]
    steps += [call(name, 0, 0, *range(8)) for name in ("step", "get_state", "set_state", "reset")]
    tokens = [call("create_stream", 0, 1, 1, 0, 0), call("step_tokens", 0, 0, 1, 0)]
    for number in range(len(files)):
        used = [call("get_info", 0, 0), call("get_layer", 0, 0), call("output_steps", 0, 3, 4)]
        used += [call("compare_steps", 0, 1, 2, *range(100, 112))]
        chain = steps if number % 2 else tokens
        whole = call("forward", 0, 2, 3, *range(90, 120)) + call("forward_tokens", 0, 1, 2, 0, 1, 1)
        yield f"file_{number:02}", b"".join([call("load", number, 0), *used, *chain, whole])
    yield (
        "memory",
        call("load_memory", ids, 0, 0, 0, 0, 0) + call("load_memory", lstm, 15, 9, 1, 8, 0, 7),
    )
    yield "wrong", b"".join(call("load_wrong_path", kind, 0) for kind in range(8))
    yield (
        "process",
        b"".join(call("set_threads", kind) + call("ask_process", 1) for kind in range(6)),
    )


# ---- tables --------------------------------------------------------------------------------------


def tables():
    draw = random.Random(0)
    rows = ["walk,step,end,when,text"]
    for walk in range(12):
        steps = [draw.gauss(0, 1) for _ in range(draw.randrange(2, 6))]
        end = "up" if sum(steps) > 0 else "down"
        word = ("good", "bad", "fine")[walk % 3]
        rows += [
            f"{walk},{step:.3f},{end},2024-01-{walk + 1:02}T{hour:02}:00,{word} é"
            for hour, step in enumerate(steps)
        ]
    yield "walks.csv", "\n".join(rows) + "\n"
    yield "broken.csv", 'a,b\n1,2\n"1,2\n3,,4\n\n'
    yield "numbers.csv", "step,end\n" + "".join(f"{k},{k * k % 7}\n" for k in range(40))
    for name, count in (("small.csv.gz", 2000), ("bomb.csv.gz", 400_000)):
        text = "\n".join([*rows[:20], *("1,2,up,,\n" for _ in range(count))])
        yield name, gzip.compress(text.encode(), mtime=0)


def main():
    for name in ("model_files", "keras_files", "onnx_files", "captures", "c_interface", "tables"):
        (CORPUS / name).mkdir(parents=True, exist_ok=True)
    for name, model in model_files():
        model.save(CORPUS / "model_files" / f"{name}.safetensors")
    write_keras_files(CORPUS / "keras_files")
    for name, model in onnx_models():
        (CORPUS / "onnx_files" / f"{name}.onnx").write_bytes(model.SerializeToString())
    for name, document in captures():
        (CORPUS / "captures" / f"{name}.json").write_text(json.dumps(document), encoding="utf-8")
    for name, program in calls():
        (CORPUS / "c_interface" / name).write_bytes(program)
    for name, text in tables():
        content = text if isinstance(text, bytes) else text.encode()
        (CORPUS / "tables" / name).write_bytes(content)


if __name__ == "__main__":
    main()
