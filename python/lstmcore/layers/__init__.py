"""Layers: each maps a batch to a batch, with weights and an exact backward."""

from typing import TYPE_CHECKING

from lstmcore._suggest import public
from lstmcore.layers.activation import Activation
from lstmcore.layers.attention import Attention
from lstmcore.layers.base import Layer
from lstmcore.layers.batch_normalization import BatchNormalization
from lstmcore.layers.bidirectional import Bidirectional
from lstmcore.layers.cell import LSTMCell
from lstmcore.layers.convolution import Conv1D
from lstmcore.layers.crf import CRF
from lstmcore.layers.dense import Dense
from lstmcore.layers.dropout import Dropout, SpatialDropout1D
from lstmcore.layers.embedding import Embedding
from lstmcore.layers.entity_aware import EALSTM
from lstmcore.layers.input import Input
from lstmcore.layers.lstm import LSTM
from lstmcore.layers.masking import Masking
from lstmcore.layers.merging import Add, Average, Concatenate, Multiply, Subtract
from lstmcore.layers.noise import GaussianNoise
from lstmcore.layers.normalization import LayerNormalization
from lstmcore.layers.pooling import (
    AveragePooling1D,
    GlobalAveragePooling1D,
    GlobalMaxPooling1D,
    MaxPooling1D,
)
from lstmcore.layers.reshaping import Flatten, Permute, RepeatVector, Reshape
from lstmcore.layers.residual import Residual
from lstmcore.layers.rnn import RNN
from lstmcore.layers.scaling import Normalization, Rescaling
from lstmcore.layers.simple_rnn import SimpleRNN
from lstmcore.layers.text import TextVectorization
from lstmcore.layers.tied import TiedDense
from lstmcore.layers.time_distributed import TimeDistributed

__all__ = [
    "CRF",
    "Activation",
    "Add",
    "Attention",
    "Average",
    "AveragePooling1D",
    "BatchNormalization",
    "Bidirectional",
    "Concatenate",
    "Conv1D",
    "Dense",
    "Dropout",
    "EALSTM",
    "Embedding",
    "Flatten",
    "GaussianNoise",
    "GlobalAveragePooling1D",
    "GlobalMaxPooling1D",
    "Input",
    "LSTM",
    "LSTMCell",
    "Layer",
    "LayerNormalization",
    "Masking",
    "MaxPooling1D",
    "Multiply",
    "Normalization",
    "Permute",
    "RNN",
    "RepeatVector",
    "Rescaling",
    "Reshape",
    "Residual",
    "SimpleRNN",
    "SpatialDropout1D",
    "Subtract",
    "TextVectorization",
    "TiedDense",
    "TimeDistributed",
]

if not TYPE_CHECKING:  # which would take it for a module with any name
    __getattr__, __dir__ = public(__name__, __all__)
