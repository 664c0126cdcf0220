"""Models: layers with their weights, how they are trained, and the files that hold them.

One chain of classes, each with one subject::

    Weighted        layers and their weights
    Compilable      compile
    Trained         fit, evaluate
    Stored          save, load, summary
    LayerStack      a chain of layers: structure, forward, backward, states
    Sequential      samples in, predictions out
    LanguageModel   texts in, what follows out

`Model`, a graph of layers, and `EncoderDecoder` are `Stored` too.
"""

from lstmcore.models.encoder_decoder import EncoderDecoder
from lstmcore.models.graph import Model
from lstmcore.models.language import LanguageModel
from lstmcore.models.loading import load
from lstmcore.models.quantization import QuantizationReport, quantization_report, quantize
from lstmcore.models.sequential import Sequential

__all__ = [
    "EncoderDecoder",
    "LanguageModel",
    "Model",
    "QuantizationReport",
    "Sequential",
    "load",
    "quantization_report",
    "quantize",
]
