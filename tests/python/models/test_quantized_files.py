"""Files of quantized models with defects."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

import lstmcore as lc
from lstmcore import layers
from lstmcore.models import model_file
from quantization_kit import stored


@pytest.fixture
def path(tmp_path):
    model = lc.Sequential([layers.Embedding(7, 3), layers.LSTM(4), layers.Dense(2)])
    model.build((None, None))
    lc.quantize(model).save(tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


def rewrite(path, change):
    tensors, document = stored(path)
    change(tensors, document)
    document["checksum"] = model_file.checksum(tensors)
    save_file(tensors, path, {"lstmcore": json.dumps(document)})


def put(name, values):
    return lambda tensors, document: tensors.update({name: values})


def write(name, place, value):
    def change(tensors, document):
        tensors[name] = tensors[name].copy()
        tensors[name][place] = value

    return change


def drop(name):
    return lambda tensors, document: tensors.pop(name)


def assign(**entries):
    return lambda tensors, document: document.update(entries)


def assign_precision(value):
    return lambda tensors, document: document["layers"][1]["config"].update(precision=value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (drop("dense.kernel"), "tensors: missing dense.kernel"),
        (drop("dense.kernel.scale"), "tensors: missing dense.kernel.scale"),
        (drop("dense.bias"), "tensors: missing dense.bias"),
        (put("dense.bias.scale", np.ones(2, np.float32)), "tensors: unknown dense.bias.scale"),
        (put("optimizer.m", np.ones(2, np.float32)), "tensors: unknown optimizer.m"),
        (
            put("dense.kernel", np.ones((4, 2), np.float32)),
            r"dense.kernel: expected int8 of shape \(4, 2\), got float32",
        ),
        (put("dense.kernel", np.ones((2, 4), np.int8)), r"int8 of shape \(4, 2\), got int8 of sha"),
        (put("dense.bias", np.zeros(2, np.int8)), "dense.bias: expected float32 .* got int8"),
        (put("dense.bias", np.zeros(2)), "dense.bias: expected F32 or I8, got F64"),
        (
            put("dense.kernel.scale", np.ones(4, np.float32)),
            r"dense.kernel.scale: expected float32 of shape \(2,\), got float32 of shape \(4,\)",
        ),
        (put("dense.kernel.scale", np.ones(2, np.int8)), "scale: expected float32 .* got int8"),
        *(
            (write("dense.kernel.scale", 1, scale), "dense.kernel.scale: expected scales of 0 or")
            for scale in (np.nan, np.inf, -1, -0.0, 1e-38, 1e-45, 3e36)
        ),
        (write("dense.kernel.scale", 1, 0.1), "expected scales of 16 binary digits, got 0.1000"),
        (write("dense.kernel.scale", 1, 0), "dense.kernel: expected 0 as the largest magnitude"),
        (write("dense.kernel", (slice(None), 1), 0), "dense.kernel: expected 127 as the largest"),
        (write("dense.kernel", (slice(None), 1), 126), "scales by .*, got 126"),
        (write("dense.kernel", (0, 0), -128), "expected 127 as the largest .*, got 128"),
        (write("embedding.embeddings", 3, 5), "embedding.embeddings: expected 127 as the largest"),
        (assign(format=1), "metadata: format 1 has no quantization"),
        (lambda tensors, document: document.pop("quantization"), "metadata: missing quantization"),
        (assign(quantization="int4"), "quantization: expected 'int8', got 'int4'"),
        (assign(quantization=8), "quantization: expected 'int8', got 8"),
        (assign(dtype="float64"), "dtype: expected 'float32' in a quantized model"),
        (assign(training={}), "training: expected null in a quantized model"),
        (lambda tensors, document: document.pop("training"), "metadata: missing training"),
        (assign_precision("fp32"), "layer 'lstm': expected precision 'int8' in a quantized model"),
        (assign_precision(None), "layer 'lstm': expected precision 'int8' in a quantized model"),
    ],
)
def test_every_defect_is_an_error(path, change, message):
    rewrite(path, change)
    with pytest.raises(ValueError, match=message) as error:
        lc.load(path)
    assert str(path) in str(error.value)


def test_other_numbers_are_accepted(path):
    rewrite(path, write("dense.kernel", (slice(None), 0), [127, 3, -127, 0]))
    rewrite(path, write("dense.kernel.scale", 0, 0.5))
    rewrite(path, write("embedding.embeddings", 3, 0))
    rewrite(path, write("embedding.embeddings.scale", 3, 0))
    weights = lc.load(path).weights
    assert weights["dense.kernel"][:, 0].tolist() == [63.5, 1.5, -63.5, 0]
    assert weights["embedding.embeddings"][3].tolist() == [0, 0, 0]


def test_any_flipped_bit_is_noticed_or_harmless(path, rng):
    content = bytearray(path.read_bytes())
    begin = 8 + int.from_bytes(content[:8], "little")
    for place in (*rng.integers(8, begin, 60), *rng.integers(begin, len(content), 40)):
        damaged = bytearray(content)
        damaged[place] ^= 1 << int(rng.integers(0, 8))
        path.write_bytes(damaged)
        if place >= begin:
            with pytest.raises(ValueError, match="wrong checksum"):
                lc.load(path)
            continue
        try:
            assert lc.load(path).count_params() == 159
        except ValueError as error:
            assert str(path) in str(error)
