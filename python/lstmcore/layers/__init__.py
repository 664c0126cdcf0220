"""Layers: each maps a batch to a batch, with weights and an exact backward."""

from lstmcore.layers.attention import Attention
from lstmcore.layers.base import Layer
from lstmcore.layers.cell import LSTMCell
from lstmcore.layers.dense import Dense
from lstmcore.layers.dropout import Dropout
from lstmcore.layers.embedding import Embedding
from lstmcore.layers.input import Input
from lstmcore.layers.lstm import LSTM, RNN, Bidirectional
from lstmcore.layers.pooling import GlobalAveragePooling1D, GlobalMaxPooling1D
from lstmcore.layers.text import TextVectorization
from lstmcore.layers.time_distributed import TimeDistributed

__all__ = [
    "Attention",
    "Bidirectional",
    "Dense",
    "Dropout",
    "Embedding",
    "GlobalAveragePooling1D",
    "GlobalMaxPooling1D",
    "Input",
    "LSTM",
    "LSTMCell",
    "Layer",
    "RNN",
    "TextVectorization",
    "TimeDistributed",
]
