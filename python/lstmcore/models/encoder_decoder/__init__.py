"""Sequence to sequence: an encoder LSTM, a decoder LSTM, and attention between them."""

from lstmcore.models.encoder_decoder.model import EncoderDecoder
from lstmcore.models.encoder_decoder.search import Hypothesis

__all__ = ["EncoderDecoder", "Hypothesis"]
