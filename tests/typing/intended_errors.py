"""Mistakes that a type checker must report, one in each marked line. They are not run."""

import numpy as np

import lstmcore as lc
from lstmcore import (
    callbacks,
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

x = np.zeros((8, 30, 3), np.float32)

# keywords
layers.LSTM(4, return_seqences=True)  # error: return_seqences
layers.LSTM(4, drop_out=0.2)  # error: drop_out
layers.LSTMCell(4, unit_forgetbias=True)  # error: unit_forgetbias
layers.LSTMCell(4, return_sequences=True)  # error: return_sequences
layers.LSTM(4, cell_activation="tanh")  # error: cell_activation
layers.Dense(4, activaton="relu")  # error: activaton
layers.Conv1D(4, 3, dilation=2)  # error: dilation
layers.Embedding(9, 4, mask_zeros=True)  # error: mask_zeros
layers.Bidirectional(layers.LSTM(4), merge="sum")  # error: merge
optimizers.Adam(lr=0.1)  # error: lr
schedules.CosineDecay(0.1, steps=3)  # error: steps
callbacks.EarlyStopping(patiance=3)  # error: patiance
lc.Sequential(layer=[])  # error: layer
lc.EncoderDecoder(5, 5, hidden=3)  # error: hidden
lc.LSTMConfig(3, 4, layers=2)  # error: layers
layers.SimpleRNN(4, recurrent_activation="tanh")  # error: recurrent_activation
layers.CRF(3, forbiden=[])  # error: forbiden
losses.CTC(blnk=1)  # error: blnk
metrics.SpanF1(["O"], avrage="macro")  # error: avrage
lc.Curriculum([1.0], epoch=3)  # error: epoch
lc.EncoderDecoder(5, 5, copy=True)  # error: copy
LSTMClassifier(hiden_size=3)  # error: hiden_size
LSTMForecaster(horizons=3)  # error: horizons

# values
layers.Dense(4, activation="sofmax")  # error: sofmax
layers.LSTM(4, activation="tnh")  # error: tnh
layers.LSTM(4, recurrent_activation="softmax")  # error: softmax
layers.LSTM(4, zoneout_h="0.1")  # error: 0.1
layers.LSTMCell(4, recurrent_activation="softmax")  # error: softmax
layers.LSTM("4")  # error: Literal['4']
layers.LSTM(4, return_sequences="yes")  # error: yes
layers.LSTM(4, kernel_initializer="glorot")  # error: glorot
layers.LSTM(4, kernel_regularizer="l3")  # error: l3
layers.LSTM(4, kernel_constraint="min_norm")  # error: min_norm
layers.LSTM(4, precision="fp16")  # error: fp16
layers.LSTM(4, recompute="root")  # error: root
layers.LSTM(4, unroll=True)  # error: True
layers.LSTM(4, bias_initializer="ones")  # error: ones
layers.Conv1D(4, 3, padding="full")  # error: full
layers.MaxPooling1D(2, padding="causal")  # error: causal
layers.Bidirectional(layers.LSTM(4), merge_mode="mean")  # error: mean
layers.Bidirectional(4)  # error: Literal[4]
layers.Attention("dot")  # error: dot
layers.TextVectorization(split="words")  # error: words
lc.Activation("swish")  # error: swish
lc.LSTMConfig(3, 4, gate_activation="sigmod")  # error: sigmod
lc.EncoderDecoder(5, 5, attention="luong")  # error: luong
lc.Sequential(dtype="float16")  # error: float16
lc.set_precision("double")  # error: double
callbacks.ReduceLROnPlateau(mode="down")  # error: down

layers.SimpleRNN(4, activation="sigmoid")  # error: sigmoid
layers.CRF("3")  # error: Literal['3']
lc.Curriculum([1.0], "cubic")  # error: cubic
lc.Curriculum([1.0], steps=0.5)  # error: "float"
lc.EncoderDecoder(5, 5, scheduled_sampling="0.1")  # error: 0.1
lc.EncoderDecoder(source="words", target_vocabulary=5)  # error: words
losses.CTC(infeasible="ignore")  # error: ignore
losses.Quantile("0.5")  # error: Literal['0.5']
losses.CRF(3)  # error: Literal[3]
losses.GaussianNLL("exp")  # error: exp
metrics.SpanF1(["O"], "IOB")  # error: IOB
metrics.F1(average="makro")  # error: makro
metrics.AUC("roc")  # error: roc
metrics.Function(max, response="labels")  # error: labels
LSTMClassifier(pooling="maxx")  # error: maxx
LSTMClassifier(scale="minmax")  # error: minmax
LSTMClassifier(batch_size="32")  # error: 32
LSTMRegressor(loss="mse")  # error: mse
LSTMRegressor(solver="adm")  # error: adm
LSTMRegressor(learning_rate=0.01)  # error: learning_rate
LSTMForecaster(strategy="recursiv")  # error: recursiv
LSTMForecaster(exogenous="future")  # error: future
LSTMForecaster(season="auot")  # error: auot
LSTMForecaster(scale="series")  # error: series

# models
model = lc.Sequential([layers.Dense(4)])
model.compile("adm", "mse")  # error: adm
model.compile("adam", "mean_squared")  # error: mean_squared
model.compile("adam", "mse", metric=["mae"])  # error: metric
model.fit(x, x, epoch=3)  # error: epoch
model.fit(x, x, verbose="quiet")  # error: quiet
model.fit(x, x, callbacks=["EarlyStopping"])  # error: callbacks
model.predict(x, batchsize=3)  # error: No overloads
model.evaluate(x, x, return_dct=True)  # error: No overloads
outputs, state = model.predict(x).shape, model.predict(x, return_state=True).shape  # error: shape
model.fitt(x, x)  # error: fitt
lc.load("model").predct(x)  # error: predct

model.compile("adam", "ctc", ["wre"])  # error: wre
model.compile("adam", "crff")  # error: crff
model.fit(x, x, curriculum="linear")  # error: linear
pairs = lc.EncoderDecoder(5, 5)
pairs.predict([[3]], beam_widht=3)  # error: beam_widht
pairs.decode([[3]], top_k="5")  # error: 5
pairs.decode([[3]], temperature="hot")  # error: hot
print(pairs.decode([[3]])[0][0].txt)  # error: txt
translated: str = pairs.predict([[3]])  # error: str
writer = lc.LanguageModel(layers.TextVectorization(), [layers.LSTM(4)], tied=True)  # error: tied
writer.generate("a", 5, heat=0.5)  # error: No overloads
written: int = writer.generate("a", 5)  # error: int
graph = lc.Model(lc.Input((None, 3)), lc.Input((3,)), name=3)  # error: name
graph.compile("adam", {"y": "mze"})  # error: LossLike
graph.fit(x, x, stateful_=True)  # error: stateful_

# explanations and decoding
explain.attribute(model, x, method="shap")  # error: No overloads
print(explain.attribute(model, x)[0].valuez)  # error: valuez
print(explain.trace(model, x)["lstm"].forget)  # error: forget
print(explain.attention(pairs, [[3]])[0].tokens)  # error: tokens
decoding.ctc_beam_search(x, beam=3)  # error: beam
decoding.ctc_greedy(x, blank="-")  # error: -

# attributes
lstm = layers.LSTM(4)
lstm.unitz = 3  # error: unitz
lstm.units = "4"  # error: units
lstm.zoneout_h = "0.1"  # error: zoneout_h
lstm.activation = "sofmax"  # error: activation
layers.LSTMCell(4).peepholes = True  # error: peepholes
lstm.parameters = None  # error: parameters
model.stop_trainig = True  # error: stop_trainig
model.optimizer.learnig_rate = 0.1  # error: learnig_rate
optimizers.Adam().beta1 = 0.1  # error: beta1
callbacks.EarlyStopping().patiance = 3  # error: patiance

# names of the package
lc.Sequentail()  # error: Sequentail
layers.Lstm(4)  # error: Lstm
losses.MeanSquareError()  # error: MeanSquareError
explain.atribute(model, x)  # error: atribute
decoding.ctc_gredy(x)  # error: ctc_gredy
metrics.Acuracy()  # error: Acuracy
F.lstmm(x)  # error: lstmm
