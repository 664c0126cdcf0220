"""Exported models agree with ONNX Runtime's results to within 1e-5 of the largest output."""

import numpy as np
import pytest

import lstmcore as lc
from lstmcore import Activation, layers
from lstmcore.config import Option
from reference import relative_error

onnx = pytest.importorskip("onnx", reason="ONNX is not installed")
pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")

import lstmcore.onnx  # noqa: E402
from lstmcore.onnx import export  # noqa: E402
from onnx_export_kit import (  # noqa: E402
    MAKERS,
    OPSETS,
    TOLERANCE,
    agree,
    batch,
    build,
    check,
    ragged,
    random_state,
    ready,
    run,
    session_of,
)

# ---- recurrent layers ----------------------------------------------------------------------------

LSTMS = {
    "plain": {},
    "sequences": {"return_sequences": True},
    "no biases": {"use_bias": False},
    "peephole": {"peephole": True, "return_sequences": True},
    "coupled": {"coupled_gates": True, "peephole": True},
    "coupled, hard": {
        "coupled_gates": True,
        "recurrent_activation": Activation("hard_sigmoid", 0.3, 0.5),
    },
    "backwards": {"go_backwards": True},
    "backwards, sequences": {"go_backwards": True, "return_sequences": True},
    "stacked": {"num_layers": 3, "dropout": 0.2, "return_sequences": True},
    "stacked, last": {"num_layers": 2},
    "shared": {"num_layers": 2, "share_recurrent": True},
    "dropouts": {"recurrent_dropout": 0.2, "input_dropout": 0.3, "weight_dropout": 0.1},
    "stateful": {"stateful": True, "return_sequences": True},
    "activations": {
        "activation": Activation("leaky_relu", 0.1),
        "recurrent_activation": "hard_sigmoid",
        "output_activation": Activation("scaled_tanh", 1.2, 0.7),
    },
    "linear": {"activation": "linear", "output_activation": "softsign"},
    "elu, affine": {
        "activation": Activation("elu", 0.7),
        "recurrent_activation": Activation("affine", 0.1, 0.5),
        "output_activation": "tanh",
    },
}


@pytest.mark.parametrize("states", [False, True])
@pytest.mark.parametrize("name", LSTMS)
def test_lstm(name, states):
    check(build([layers.LSTM(5, **LSTMS[name])], (None, 3)), states=states)


@pytest.mark.parametrize("opset", OPSETS)
def test_every_opset(opset):
    stack = [
        layers.Conv1D(4, 3, 2, "same", activation="relu"),
        layers.LayerNormalization(),
        layers.Residual([layers.Bidirectional(layers.LSTM(2, return_sequences=True))]),
        layers.MaxPooling1D(2, 1, "same"),
        layers.LSTM(5, return_sequences=True, num_layers=2),
        layers.Attention(),
        layers.Dense(3, "softmax"),
    ]
    check(build(stack, (None, 3)), opset, states=True, sizes=((3, 7), (2, 12)))


@pytest.mark.parametrize("sequences", [False, True])
@pytest.mark.parametrize("mode", ["concat", "sum", "mul", "ave"])
def test_bidirectional(mode, sequences):
    inner = layers.LSTM(4, return_sequences=sequences, num_layers=2)
    check(build([layers.Bidirectional(inner, mode)], (None, 3)), states=True)


def test_cells():
    cells = [layers.LSTMCell(4, peephole=True) for _ in range(2)]
    check(build([layers.RNN(cells, return_sequences=True)], (None, 3)), states=True)


OTHER_CELLS = {
    "projection": {"proj_size": 3, "proj_clip": 0.1, "return_sequences": True},
    "cell_clip": {"cell_clip": 0.2},
    "output_clip": {"output_clip": 0.2, "gate_clip": 0.4},
    "clip of the gates": {"coupled_gates": True, "gate_clip": 0.4, "return_sequences": True},
    "zoneout": {"zoneout_h": 0.2, "zoneout_c": 0.3, "return_sequences": True},
    "norm": {"layer_norm": True, "peephole": True},
    "norm, coupled": {"layer_norm": True, "coupled_gates": True, "peephole": True},
    "norm, no bias": {"layer_norm": True, "use_bias": False, "gate_clip": 0.5},
    "backwards": {"proj_size": 2, "go_backwards": True, "return_sequences": True},
    "stacked": {"zoneout_h": 0.2, "num_layers": 2, "proj_size": 3},
    "coupled tanh": {"coupled_gates": True, "recurrent_activation": "tanh"},
    "activations": {
        "cell_clip": 3.0,
        "activation": Activation("leaky_relu", 0.1),
        "recurrent_activation": "hard_sigmoid",
        "output_activation": Activation("scaled_tanh", 1.2, 0.7),
    },
}


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("name", OTHER_CELLS)
def test_cells_as_scans(name, bidirectional):
    options = dict(OTHER_CELLS[name])
    if bidirectional:
        options.pop("go_backwards", None)
    layer = layers.LSTM(5, **options)
    model = build([layers.Bidirectional(layer) if bidirectional else layer], (None, 3))
    with pytest.raises(ValueError, match=r"^layer '.*': \w+: ONNX.*recurrent=\"auto\""):
        export(model)
    check(model, states=True, recurrent="auto")


def test_an_option_that_a_scan_does_not_know_is_refused(monkeypatch):
    new = Option(
        "input_dropout", "float", 0.0, "input_dropout", None, True
    )  # which the export does not read
    monkeypatch.setattr(lstmcore.onnx.export_scan, "OPTIONS", (new,))
    check(build([layers.LSTM(3)], (None, 2)), recurrent="scan")
    model = build([layers.LSTM(3, input_dropout=0.25)], (None, 2))
    with pytest.raises(ValueError, match=r"input_dropout: cannot be exported to ONNX, got 0\.25"):
        export(model, recurrent="scan")


@pytest.mark.parametrize("opset", OPSETS)
def test_plain_cells_as_scans(opset):
    model = build([layers.LSTM(4, num_layers=2, return_sequences=True)], (None, 3))
    assert "LSTM" in {node.op_type for node in export(model, recurrent="auto").graph.node}
    check(model, opset, states=True, recurrent="scan")


# ---- other layers --------------------------------------------------------------------------------

LSTM = layers.LSTM
STACKS = {
    "dense": lambda: [layers.Dense(4, "tanh"), layers.Dense(2, use_bias=False)],
    "activations": lambda: [
        layers.Dense(4, name) for name in ("relu", "sigmoid", "softmax", "linear")
    ],
    "dropout alone": lambda: [layers.Dropout(0.5)],
    "max": lambda: [layers.Dense(4), layers.GlobalMaxPooling1D()],
    "mean": lambda: [layers.Dense(4), layers.GlobalAveragePooling1D()],
    "max of an LSTM": lambda: [LSTM(4, return_sequences=True), layers.GlobalMaxPooling1D()],
    "mean of an LSTM": lambda: [LSTM(4, return_sequences=True), layers.GlobalAveragePooling1D()],
    "additive": lambda: [layers.Attention(units=3)],
    "multiplicative": lambda: [layers.Attention("multiplicative", 4, scale=True)],
    "attention to an LSTM": lambda: [LSTM(4, return_sequences=True), layers.Attention()],
    "norm": lambda: [layers.LayerNormalization()],
    "norm without": lambda: [layers.LayerNormalization(center=False, scale=False, epsilon=0.1)],
    "norm of an LSTM": lambda: [LSTM(4, return_sequences=True), layers.LayerNormalization()],
    "residual": lambda: [layers.Residual([layers.Dense(5), LSTM(3, return_sequences=True)])],
    "residual, projected": lambda: [layers.Residual(layers.Dense(5), projection=True)],
    "residual, convolution": lambda: [
        layers.Residual([layers.Conv1D(3, 3, padding="causal"), layers.LayerNormalization()])
    ],
    "residuals": lambda: [
        LSTM(4, return_sequences=True),
        layers.Residual([layers.Residual(LSTM(4, return_sequences=True))]),
        LSTM(2),
    ],
    "each": lambda: [layers.TimeDistributed(layers.Dense(4, "relu"))],
    "each norm": lambda: [layers.TimeDistributed(layers.LayerNormalization())],
    "each residual": lambda: [layers.TimeDistributed(layers.Residual(layers.Dense(3)))],
    "pooled convolutions": lambda: [
        layers.Conv1D(4, 3, padding="same", activation="tanh"),
        layers.MaxPooling1D(2, padding="same"),
        layers.Conv1D(3, 2, padding="causal", activation="softmax"),
        layers.GlobalMaxPooling1D(),
    ],
    "classifier": lambda: [
        layers.Conv1D(4, 2, padding="causal"),
        layers.Bidirectional(LSTM(3, return_sequences=True)),
        layers.Dropout(0.3),
        LSTM(4, num_layers=2),
        layers.Dense(3, "softmax"),
    ],
}

WITHOUT_LENGTHS = ("dense", "activations", "dropout alone", "each", "each norm", "each residual")


@pytest.mark.parametrize("opset", [OPSETS[0], OPSETS[-1]])
@pytest.mark.parametrize("name", STACKS)
def test_layers(name, opset):
    uses_lengths = name not in WITHOUT_LENGTHS
    model = build(STACKS[name](), (None, 3))
    check(model, opset, lengths=uses_lengths)
    if not uses_lengths:
        with pytest.raises(ValueError, match="^lengths: .*no layer"):
            export(model, lengths=True)


@pytest.mark.parametrize("padding", ["valid", "same", "causal"])
@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("stride", [1, 2, 4])
@pytest.mark.parametrize("size", [1, 2, 3])
def test_convolution(padding, dilation, stride, size):
    layer = layers.Conv1D(4, size, stride, padding, dilation_rate=dilation, use_bias=stride != 2)
    check(build([layer], (None, 3)), sizes=((4, 12), (3, 5), (6, 7), (2, 8)))


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("stride", [None, 1, 2, 4])
@pytest.mark.parametrize("size", [1, 2, 3])
def test_max_pooling(padding, stride, size):
    layer = layers.MaxPooling1D(size, stride, padding)
    check(build([layer], (None, 3)), sizes=((4, 12), (3, 5), (6, 7), (2, 8)))


def test_rows_that_a_window_leaves_empty():
    """If a row is shorter than the window, later layers have a row without valid steps."""
    for after in (
        [LSTM(4)],
        [LSTM(4, return_sequences=True), layers.GlobalMaxPooling1D()],
        [layers.GlobalAveragePooling1D()],
        [layers.Attention()],
        [LSTM(2, go_backwards=True, return_sequences=True)],
    ):
        model = build([layers.Conv1D(4, 3), *after], (None, 3))
        states = bool(model.recurrent_layers)
        check(model, sizes=((4, 6), (3, 3)), states=states)
        if states:
            check(model, sizes=((4, 6), (3, 3)), states=True, recurrent="scan")


def test_padding_changes_nothing():
    for stack in (
        [LSTM(4, return_sequences=True)],
        [layers.Conv1D(4, 3, 2, "same")],
        [layers.GlobalMaxPooling1D()],
        [layers.GlobalAveragePooling1D()],
        [layers.Attention()],
        [layers.LayerNormalization()],
    ):
        model = build(stack, (None, 3))
        x = batch(model, 4, 9)
        lengths = ragged(4, 9)
        proto = export(model, lengths=True)
        expected = run(proto, {"x": x, "lengths": lengths.astype(np.int32)})["y"]
        x[np.arange(9) >= lengths[:, None]] = np.nan
        agree(model, ready(proto), x, lengths)
        result = run(proto, {"x": x, "lengths": lengths.astype(np.int32)})["y"]
        np.testing.assert_array_equal(result, expected)


def test_inputs_without_time():
    check(build([layers.Dense(4, "relu"), layers.LayerNormalization()], (3,)), lengths=False)


def test_steps_that_are_sequences():
    inner = layers.TimeDistributed(layers.LSTM(4))
    model = build([inner, layers.Bidirectional(layers.LSTM(2))], (None, 5, 3))
    check(model)
    for parts in (
        [layers.Attention()],
        [layers.Conv1D(2, 2), layers.GlobalMaxPooling1D()],
        [layers.LSTM(2, return_sequences=True, go_backwards=True), layers.Attention()],
    ):
        each = [layers.TimeDistributed(part) for part in parts]
        check(build([*each, layers.LSTM(4)], (None, 5, 3)))
    check(build([layers.LayerNormalization()], (None, 2, 3)))


def test_fixed_time():
    model = build([layers.Conv1D(2, 3, 2), layers.LSTM(4, return_sequences=True)], (9, 3))
    proto = export(model)
    dims = [entry.dim_value for entry in proto.graph.output[0].type.tensor_type.shape.dim]
    assert dims == [0, 4, 4]
    check(model, sizes=((2, 9), (1, 9)))


# ---- ids -----------------------------------------------------------------------------------------


def test_ids():
    for stack in (
        [layers.Embedding(11, 4), layers.LSTM(3)],
        [layers.Embedding(11, 4), layers.GlobalAveragePooling1D(), layers.Dense(2)],
    ):
        check(build(stack, (None,)))
    each = [layers.TimeDistributed(layers.Embedding(11, 4)), layers.LSTM(3)]
    check(build(each, (None,)))


@pytest.mark.parametrize("opset", [OPSETS[0], OPSETS[-1]])
def test_padding_ids(opset):
    stack = [layers.Embedding(11, 4, mask_zero=True), layers.LSTM(3, return_sequences=True)]
    model = build(stack, (None,))
    proto = export(model, opset=opset)
    assert [entry.name for entry in proto.graph.output] == ["y", "y_lengths"]
    x = np.random.default_rng(0).integers(1, 11, (4, 9))
    x[np.arange(9) >= ragged(4, 9)[:, None]] = 0
    agree(model, ready(proto), x)
    with pytest.raises(ValueError, match=r"^lengths: .*mask_zero"):
        export(model, lengths=True)


def test_texts():
    vectorizer = layers.TextVectorization()
    vectorizer.adapt(["one two three", "two three", "three"])
    stack = [vectorizer, layers.Embedding(8, 4, mask_zero=True), layers.LSTM(3), layers.Dense(2)]
    model = lc.Sequential(stack, seed=3)
    texts = ["two one", "three three one two", "what"]
    expected = model(texts)
    with pytest.raises(ValueError, match=r"'text_vectorization'.*TextVectorization.*from_ids=True"):
        export(model)
    proto = export(model, from_ids=True)
    assert relative_error(run(proto, {"x": vectorizer(texts)})["y"], expected) < TOLERANCE
    with pytest.raises(ValueError, match="^from_ids: "):
        export(build([layers.LSTM(2)], (None, 3)), from_ids=True)


# ---- states --------------------------------------------------------------------------------------


def test_a_sequence_in_chunks():
    model = build(
        [LSTM(4, return_sequences=True), LSTM(3, num_layers=2), layers.Dense(2)], (None, 3)
    )
    proto = export(model, states=True)
    assert [entry.name for entry in proto.graph.input] == [
        "x",
        "lstm.h0",
        "lstm.c0",
        "lstm_1.h0",
        "lstm_1.c0",
    ]
    session, x = session_of(proto), batch(model, 2, 10)
    expected, after = model.predict(x, return_state=True)
    state = {
        f"{key}.{part}0": getattr(pair, part)
        for key, pair in model.initial_state(2).items()
        for part in "hc"
    }
    names = [entry.name for entry in session.get_outputs()]
    for chunk in (x[:, :3], x[:, 3:4], x[:, 4:]):
        results = dict(zip(names, session.run(None, {"x": chunk, **state}), strict=True))
        y = results.pop("y")
        state = {f"{name[:-1]}0": value for name, value in results.items()}
    assert relative_error(y, expected) < TOLERANCE
    assert relative_error(state["lstm_1.c0"], after["lstm_1"].c) < TOLERANCE


def test_rows_without_steps_keep_their_state():
    for recurrent in ("lstm", "scan"):
        model = build([layers.Bidirectional(LSTM(3, num_layers=2))], (None, 3))
        proto = export(model, lengths=True, states=True, recurrent=recurrent)
        agree(
            model, ready(proto), batch(model, 3, 4), np.array([2, 0, 4]), random_state(model, 3, 1)
        )


# ---- float64 -------------------------------------------------------------------------------------

STACKS_64 = {
    "norms": lambda: [layers.LayerNormalization(), LSTM(4, layer_norm=True), layers.Dense(2)],
    "LSTMs": lambda: [
        layers.Bidirectional(LSTM(4, return_sequences=True, peephole=True)),
        LSTM(3, proj_size=2, go_backwards=True, return_sequences=True),
        layers.Attention("multiplicative"),
    ],
    "pooled": lambda: [LSTM(4, return_sequences=True), layers.GlobalAveragePooling1D()],
}


@pytest.mark.parametrize("name", STACKS_64)
def test_float64(name):
    """ONNX Runtime has a Scan for float64, but no LSTM."""
    model = build(STACKS_64[name](), (None, 3), dtype="float64")
    for lengths in (False, True):
        proto = export(model, recurrent="scan", lengths=lengths)
        x = batch(model, 4, 6)
        agree(model, ready(proto), x, ragged(4, 6) if lengths else None, tolerance=1e-12)


def reference_lstm():
    """Return an LSTM operator in plain loops for ONNX's own evaluator, whose LSTM is incomplete."""
    from onnx.reference.op_run import OpRun

    from lstmcore.convert import from_onnx
    from reference import lstm

    class LSTM(OpRun):
        op_domain = ""

        def _run(self, X, W, R, B=None, lengths=None, h0=None, c0=None, P=None, **attributes):
            known = ("hidden_size", "direction", "activations", "activation_alpha")
            known += ("activation_beta", "clip", "input_forget")
            given = {name: attributes[name] for name in known if attributes.get(name) is not None}
            weights, config = from_onnx(W, R, B, P, **given)
            y, h, c = lstm(X.transpose(1, 0, 2), weights, config, h0, c0, lengths)
            y = y.reshape(*y.shape[:2], config.num_directions, -1).transpose(1, 2, 0, 3)
            return tuple(part.astype(X.dtype) for part in (y, h, c))

    return LSTM


def in_evaluator(proto):
    """Return a function that runs a model in ONNX's own evaluator."""
    from onnx.reference import ReferenceEvaluator

    evaluator = ReferenceEvaluator(proto, new_ops=[reference_lstm()])
    names = evaluator.output_names
    return lambda feeds: dict(zip(names, evaluator.run(None, feeds), strict=True))


CLIP = {"gate_clip": 0.3, "output_clip": 0.3, "peephole": True}
"""The attribute `clip`, which ONNX Runtime does not apply to the output's activation."""


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["coupled", "clip", "backwards, sequences", "stacked"])
def test_onnx_evaluator(name, dtype):
    options = {**LSTMS, "clip": CLIP}[name]
    model = build([layers.LSTM(5, **options), layers.Dense(2)], (None, 3), dtype=dtype)
    tolerance = 1e-5 if dtype == "float32" else 1e-7  # ONNX stores `clip` in float32
    for lengths in (False, True):
        proto = export(model, lengths=lengths, states=True)
        rows = ragged(4, 6) if lengths else None
        state = random_state(model, 4, 2)
        runs = ready(proto, (in_evaluator, *MAKERS[1:]))
        agree(model, runs, batch(model, 4, 6), rows, state, tolerance)


@pytest.mark.parametrize("name", STACKS)
def test_layers_of_float64_in_the_evaluator(name):
    """ONNX Runtime lacks convolutions of float64 too."""
    model = build(STACKS[name](), (None, 3), dtype="float64")
    x = batch(model, 4, 9)
    agree(model, ready(export(model), (in_evaluator,)), x, tolerance=1e-12)
    if name not in WITHOUT_LENGTHS:
        runs = ready(export(model, lengths=True), (in_evaluator,))
        agree(model, runs, x, ragged(4, 9), tolerance=1e-12)


def test_another_dtype():
    model = build([layers.LSTM(4), layers.Dense(2)], (None, 3), dtype="float64")
    x = batch(model, 3, 5)
    results = run(export(model, dtype="float32"), {"x": x.astype(np.float32)})
    assert results["y"].dtype == np.float32
    assert relative_error(results["y"], model(x)) < TOLERANCE
    model = build([layers.LSTM(4), layers.Dense(2)], (None, 3))
    results = run(export(model, dtype="float64", recurrent="scan"), {"x": x})
    assert relative_error(results["y"], model(x.astype(np.float32))) < TOLERANCE


# ---- files and errors ----------------------------------------------------------------------------


def test_file(tmp_path):
    model = build([layers.LSTM(4, name="walk"), layers.Dense(2, "softmax", name="last")], (None, 3))
    model.class_names = ["cat", "dog"]
    path = tmp_path / "model.onnx"
    path.write_bytes(b"something before")
    proto = export(model, path, lengths=True, states=True)
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.onnx"]
    read = onnx.load(path)
    assert read == proto
    assert read.producer_name == "lstmcore"
    assert read.producer_version == lc.__version__
    assert {entry.key: entry.value for entry in read.metadata_props} == {
        "class_names": '["cat", "dog"]'
    }
    graph = read.graph
    assert [entry.name for entry in graph.input] == ["x", "lengths", "h0", "c0"]
    assert [entry.name for entry in graph.output] == ["y", "hn", "cn"]
    assert {entry.name for entry in graph.initializer} >= {"walk/W", "walk/R", "walk/B"}
    assert "walk/LSTM" in {node.name for node in graph.node}
    assert [
        entry.dim_param or entry.dim_value for entry in graph.input[0].type.tensor_type.shape.dim
    ] == ["N", "T", 3]


def test_a_folder_that_is_missing(tmp_path):
    model = build([layers.LSTM(2)], (None, 3))
    path = tmp_path / "missing" / "model.onnx"
    with pytest.raises(FileNotFoundError) as error:
        export(model, path)
    assert error.value.filename == str(path)


def test_stacked_lstms_are_not_transposed_back_and_forth():
    stack = [
        LSTM(4, return_sequences=True),
        layers.Dense(3),
        LSTM(4, num_layers=2),
        layers.Dense(2),
    ]
    kinds = [node.op_type for node in export(build(stack, (None, 3))).graph.node]
    assert kinds.count("Transpose") == 1
    assert kinds.count("LSTM") == 3


class Doubled(layers.Dense):
    def forward(self, inputs, lengths, training, seed):
        y, lengths, context = super().forward(inputs, lengths, training, seed)
        return 2 * y, lengths, context


def test_refused():
    model = build([layers.LSTM(4), layers.Dense(2)], (None, 3))
    with pytest.raises(TypeError, match=r"^model: expected a Sequential"):
        export(layers.LSTM(3))
    with pytest.raises(ValueError, match="not built"):
        export(lc.Sequential([layers.LSTM(3)]))
    for opset in (13, 99):
        with pytest.raises(ValueError, match=rf"^opset: expected 14 to \d+.*, got {opset}"):
            export(model, opset=opset)
    with pytest.raises(TypeError, match="^opset: "):
        export(model, opset=17.0)
    with pytest.raises(TypeError, match="^path: "):
        export(model, 3)
    with pytest.raises(TypeError, match="^lengths: "):
        export(model, lengths="auto")
    with pytest.raises(TypeError, match="^states: "):
        export(model, states=1)
    with pytest.raises(ValueError, match="^recurrent: "):
        export(model, recurrent="gru")
    with pytest.raises(ValueError, match="^dtype: "):
        export(model, dtype="float16")
    flat = build([layers.Dense(2)], (3,))
    with pytest.raises(ValueError, match="^lengths: .*without a time axis"):
        export(flat, lengths=True)
    with pytest.raises(ValueError, match="^states: .*without recurrent layers"):
        export(flat, states=True)
    with pytest.raises(
        ValueError, match=r"^layer 'doubled': a Doubled cannot be expressed in ONNX"
    ):
        export(build([Doubled(2)], (3,)))
    with pytest.raises(ValueError, match=r"^layer 'residual': layers\[0\]: zoneout_h: ONNX"):
        export(build([layers.Residual(LSTM(3, return_sequences=True, zoneout_h=0.1))], (None, 3)))
    with pytest.raises(ValueError, match=r"^layer 'lstm': coupled_gates: ONNX"):
        export(build([LSTM(3, coupled_gates=True, recurrent_activation="softsign")], (None, 3)))
    for way in ("auto", "scan", "lstm"):
        with pytest.raises(
            ValueError, match=r"^layer 'lstm': cell_activation: ONNX has no fast_tanh"
        ):
            export(build([LSTM(3, activation="fast_tanh")], (None, 3)), recurrent=way)


def test_too_large(monkeypatch):
    monkeypatch.setattr("lstmcore.onnx.export_graph.MOST_BYTES", 600)
    export(build([layers.LSTM(4)], (None, 3)))
    with pytest.raises(ValueError, match=r"^layer 'lstm': expected weights of less than 2 GiB"):
        export(build([layers.LSTM(4, num_layers=2)], (None, 3)))
