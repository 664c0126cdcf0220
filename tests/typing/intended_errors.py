"""Mistakes that a type checker must report, one in each marked line. They are not run."""

import numpy as np

import lstmcore as lc
from lstmcore import callbacks, layers, losses, metrics, optimizers, schedules
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

losses.GaussianNLL("exp")  # error: exp
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
metrics.Acuracy()  # error: Acuracy
F.lstmm(x)  # error: lstmm
