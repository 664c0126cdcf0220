"""Programs in which a type checker must report no errors. They are not run."""

import numpy as np

import lstmcore as lc
from lstmcore import (
    callbacks,
    convert,
    decoding,
    explain,
    layers,
    losses,
    metrics,
    optimizers,
    schedules,
)
from lstmcore import functional as F
from lstmcore.sklearn import LSTMClassifier, LSTMForecaster, LSTMRegressor

x = np.zeros((8, 30, 3))
labels = [0, 1] * 4
texts = ["a good film", "a bad one"] * 4
ragged = [np.zeros((5, 3), np.float32), np.zeros((7, 3), np.float32)]

# models
model = lc.Sequential(
    [
        layers.Input((None, 3)),
        layers.Conv1D(8, 3, padding="causal", activation="relu"),
        layers.MaxPooling1D(2, padding="same"),
        layers.Bidirectional(layers.LSTM(16, return_sequences=True, dropout=0.2), "sum"),
        layers.Residual(layers.LSTM(16, return_sequences=True)),
        layers.LSTM(
            16,
            activation=lc.Activation("leaky_relu", 0.1),
            recurrent_activation="hard_sigmoid",
            kernel_regularizer=0.1,
            kernel_initializer="he_normal",
            recurrent_constraint="max_norm",
            precision="bf16x3",
            unroll=False,
        ),
        layers.Dense(1, activation="sigmoid"),
    ],
    seed=1,
    dtype="float64",
)
model.compile("adam", "binary_crossentropy", ["accuracy"])
model.compile(optimizers.AdamW(1e-3, clipnorm=1.0), losses.BinaryCrossentropy(), ["accuracy"])
model.compile(
    optimizers.SGD(schedules.Warmup(schedules.CosineDecay(0.1, 100), 10), momentum=0.9),
    "mse",
    [metrics.MeanAbsoluteError()],
)
history = model.fit(
    x,
    labels,
    epochs=3,
    verbose=0,
    validation_split=0.25,
    callbacks=[callbacks.EarlyStopping(patience=2, mode="min"), callbacks.TerminateOnNaN()],
)
best: float = min(history.history["val_loss"])
places = model.predict(x).argmax(axis=-1)
ragged_outputs = model.predict(ragged, verbose=0)
outputs, state = model.predict(x, return_state=True)
more = model.predict(x, state=state, return_state=False)
scores = model.evaluate(x, labels, return_dict=True)["accuracy"]
loss, accuracy = model.evaluate(x, labels)
model.train_on_batch(x, labels)
model.summary()
model.stop_training = True
model.optimizer.learning_rate = 1e-4

# files
model.save("model.safetensors")
lc.load("model.safetensors").predict(x)
lc.Sequential.load("model.safetensors").predict(x).mean()
lc.quantize(model).predict(x)

# text
reader = layers.TextVectorization(100, standardize="lower", split="character")
reader.adapt(texts)
numbers = reader(texts)
lc.Sequential([reader, layers.Embedding(reader.vocabulary_size(), 8), layers.LSTM(8)]).predict(
    texts
)

# pairs
spoken: list[str] = reader.decode(reader(texts))
writer = lc.LanguageModel(reader, [layers.LSTM(8, return_sequences=True)], tie_weights=False)
writer.compile()
writer.fit_text(texts, validation_split=0.1)
written: str = writer.generate("a ", 20, temperature=0.5, top_k=5, top_p=0.9)
several: list[str] = writer.generate(["a ", "b"])
perplexity: float = writer.perplexity("a good film")
pairs = lc.EncoderDecoder(10, 12, units=8, attention="additive", num_layers=2)
pairs.compile("adam")
pairs.fit([[3, 4], [5]], [[3], [4, 5]], epochs=1)
best_tokens = pairs.predict([[3, 4]])[0].tolist()
pairs.decode([[3, 4]], 4)[0][0].tokens.tolist()

translator = lc.EncoderDecoder(
    source=reader,
    target=layers.TextVectorization(start="[START]", end="[END]"),
    attention="auto",
    copying=True,
    scheduled_sampling=schedules.Warmup(0.25, 10),
)
translator.adapt(texts, texts)
translator.compile(optimizers.Adam(1e-3), metrics=["accuracy", "perplexity"])
translator.fit(texts, texts, epochs=1, validation_split=0.25)
translated: list[str] = translator.predict(texts, beam_width=3, min_length=1, length_penalty=1.0)
drawn = translator.decode(
    texts, forbidden=["[UNK]", 3], temperature=0.7, top_k=5, top_p=0.9, return_attention=True
)
text: str | None = drawn[0][0].text
likely: float = float(translator.log_probabilities(texts, texts)[0])

# graphs
sequence, static = lc.Input((None, 3), name="sequence"), lc.Input((2,), name="static")
first = layers.Dense(8, "tanh")(static)
y_steps, last_h, last_c = layers.LSTM(8, return_sequences=True, return_state=True)(
    sequence, initial_state=[first, first]
)
joined = layers.Concatenate()([y_steps, static])
graph = lc.Model(
    [sequence, static],
    {"steps": layers.Dense(1)(joined), "whole": layers.Dense(2, "softmax")(last_h)},
)
graph.compile(
    "adam",
    {"steps": "mse", "whole": "sparse_categorical_crossentropy"},
    {"whole": ["accuracy"]},
    loss_weights={"steps": 0.5},
)
graph.fit({"sequence": x, "static": x[:, 0, :2]}, {"steps": x[..., :1], "whole": labels})
entity = layers.EALSTM(8)([sequence, static])
elman = layers.SimpleRNN(8, activation="relu", return_sequences=True, recurrent_dropout=0.1)

# sequences of labels, tags, distributions
speech = lc.Sequential([layers.LSTM(8, return_sequences=True), layers.Dense(5, "softmax")])
speech.compile("adam", losses.CTC(blank=4, infeasible="zero"), ["cer", metrics.WordErrorRate()])
speech.fit(ragged, [[1, 2], [3]], epochs=1)
found_labels = decoding.ctc_greedy(speech.predict(ragged), blank=4)[0].tolist()
best_labels = decoding.ctc_beam_search(
    speech.predict(ragged), beam_width=4, scorer=lambda prefix, symbol: -1.0
)[0][0].labels
tags = ["O", "B-X", "I-X"]
tagger = lc.Sequential(
    [
        layers.LSTM(8, return_sequences=True),
        layers.Dense(3),
        layers.CRF(3, metrics.forbidden_transitions(tags, "BIO")),
    ]
)
tagger.compile("adam", losses.CRF(tags), ["span_f1", metrics.SpanF1(tags, average="macro")])
spread_out = lc.Sequential([layers.LSTM(8), layers.Dense(3)])
spread_out.compile("adam", losses.Quantile([0.1, 0.5, 0.9]))
spread_out.compile("adam", losses.GaussianNLL("softplus"))
mean, variance = losses.GaussianNLL("log").mean_and_variance(x[..., :2])

# curricula
easy = lc.Curriculum([1.0] * 8, "linear", start=0.2, steps=100)
model.fit(x, labels, curriculum=easy)
model.fit(x, labels, curriculum=lc.Curriculum(lambda x, y: y, lambda epoch: 0.5))
share: float = easy.share(0, 50)

# explanations
one = explain.attribute(model, x, method="occlusion", baseline=[0.0, 0.0, 0.0])[0]
ranked: list[tuple[str, float]] = one.by_token()
of_pairs = explain.attribute(pairs, [[3, 4]], [[3]], step=-1)[0].values
of_graph = explain.attribute(graph, [x, x[:, 0, :2]], output="whole", baseline={"static": 0.0})
forget = explain.trace(model, x)["lstm"].f
shown = explain.attention(pairs, [[3, 4]])[0]
shown.plot("attention.svg", title="where it looks")

# layers alone, options of a layer and of an optimizer
lstm = layers.LSTM(4, return_state=True)
lstm.units = 8
lstm.zoneout_h = lstm.zoneout_c = 0.1
lstm.name = "reader"
y, h, c = lstm(x)
step, (h, c) = layers.LSTMCell(4)(x[:, 0], (h, c))
pooled, weights = layers.Attention("additive")(x, return_weights=True)
adam = optimizers.Adam()
adam.learning_rate = 0.1
adam.clipnorm = 2.0

# functions
config = lc.LSTMConfig(3, 4, num_layers=2, peephole=True, gate_activation="hard_sigmoid")
floats = x.astype(np.float32)
values = F.init_weights(config)
y_f, last = F.lstm(floats, values, config, precision="auto")
stream = lc.LSTMStream(values, config, precision="int8")
stream.step(floats[:1, 0])
lc.set_precision("fp32")
imported, imported_config = convert.from_torch({"weight_ih_l0": floats})


# estimators
LSTMClassifier(8, pooling="attention", scale=None, solver="sgd", patch_size=2, n_iter_no_change=5)
LSTMRegressor(loss="absolute_error", learning_rate="cosine", batch_size="auto").fit(x, labels)
LSTMForecaster(season=12, difference="auto", target=["v"], exogenous="past", strategy="recursive")
metrics.AUC("PR", average="micro")


# user-defined classes
class Doubled(layers.Dense):
    """A layer."""

    def __init__(self, factor: float = 2.0) -> None:
        super().__init__(4, activation="relu")
        self.factor = factor


class Patient(callbacks.Callback):
    """A callback."""

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        self.last = logs["loss"]
        self.model.stop_training = self.last < 0.1


Doubled(3.0).factor = 4.0
