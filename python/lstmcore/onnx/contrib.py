"""Operators of ONNX Runtime's own whose results are no larger than their inputs make them."""

from __future__ import annotations

__all__ = ["RUNTIMES", "SIZED"]

RUNTIMES = "com.microsoft"
"""Where operators have no inference, and may make much of few numbers."""

ATTENTION = (
    *("Attention", "DecoderAttention", "DecoderMaskedMultiHeadAttention"),
    *("DecoderMaskedSelfAttention", "GatedRelativePositionBias", "GemmaRotaryEmbedding"),
    *("LinearAttention", "LinearAttentionGate", "LongformerAttention", "MRotaryEmbedding"),
    *("MultiHeadAttention", "PackedAttention", "PackedMultiHeadAttention", "QAttention"),
    *("RotaryEmbedding", "SparseAttention"),
)

ELEMENTWISE = (
    *("BiasAdd", "BiasDropout", "BiasGelu", "BiasSoftmax", "BiasSplitGelu", "BitmaskBiasDropout"),
    *("BitmaskDropout", "BranchwiseRMSNorm", "ComplexMul", "ComplexMulConj", "ExpandDims"),
    *("FastGelu", "GatedAdd", "GatedRMSNorm", "Gelu", "GroupNorm", "IsAllFinite", "MulInteger"),
    *("MurmurHash3", "QuickGelu", "RMSNormRotary", "ScaledSiLU", "SkipGroupNorm"),
    *("SkipLayerNormalization", "SkipSimplifiedLayerNormalization", "SwiGLU", "Trilu"),
    *("LayerNormalization", "SimplifiedLayerNormalization"),
)

PRODUCTS = (
    *("CDist", "DynamicQuantizeMatMul", "DynamicTimeWarping", "FusedGemm", "FusedMatMul"),
    *("FusedMatMulActivation", "GemmFastGelu", "GemmFloat8", "Inverse", "MatMulBnb4", "MatMulFpQ4"),
    *("MatMulInteger16", "MatMulIntegerToFloat", "MatMulNBits", "MoE", "QGemm", "QMoE"),
    *("SparseToDenseMatMul", "TransposeMatMul"),
)

QUANTIZED = (
    *("DequantizeBFP", "DequantizeLinear", "DequantizeWithOrder", "QLinearAdd", "QLinearConcat"),
    *("QLinearGlobalAveragePool", "QLinearLeakyRelu", "QLinearMul", "QLinearReduceMean"),
    *("QLinearSigmoid", "QLinearSoftmax", "QLinearWhere", "QOrderedAttention", "QOrderedGelu"),
    *("QOrderedLayerNormalization", "QOrderedLongformerAttention", "QOrderedMatMul", "QuantizeBFP"),
    *("QuantizeLinear", "QuantizeWithOrder", "ReduceSumInteger"),
)

RECURRENT = ("AttnLSTM", "CausalConvWithState", "DynamicQuantizeLSTM", "GatedDeltaNet")

SELECTING = (
    *("BifurcationDetector", "EmbedLayerNormalization", "GatherBlockQuantized", "GatherND"),
    *("NGramRepeatBlock", "QEmbedLayerNormalization", "RemovePadding"),
    *("RestorePadding", "SampleOp", "Tokenizer", "TorchEmbedding", "Unique", "WordConvEmbedding"),
)

SPECTRA = ("Irfft", "Rfft")

SIZED = frozenset(
    (*ATTENTION, *ELEMENTWISE, *PRODUCTS, *QUANTIZED, *RECURRENT, *SELECTING, *SPECTRA)
)
"""Their results have axes of their inputs, or products of them.

Operators whose numbers or attributes make the size are in `lstmcore.onnx.result_sizes`; all others
are refused unless the caller sets a limit, because they could make anything of a few bytes.
"""
