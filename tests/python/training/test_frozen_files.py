"""Files and summaries of models in part frozen."""

import pytest

import lstmcore as lc
from lstmcore import layers


class Doubling(layers.Dense):
    """A user's layer whose constructor lacks the keyword."""

    def __init__(self, units, *, name=None):
        super().__init__(units, name=name)

    def get_config(self):
        config = {"units": self.units, "name": self.name}
        return config if self.trainable else {**config, "trainable": False}


class Plain(layers.Dense):
    """A user's layer that inherits its configuration."""

    def __init__(self, units, *, name=None):
        super().__init__(units, name=name)


@pytest.mark.parametrize("kind", [Doubling, Plain])
def test_user_layers_are_saved_frozen(kind, tmp_path):
    model = lc.Sequential([kind(3, name="own"), layers.Dense(1)])
    model.build((None, 2))
    for frozen in (False, True):
        model.layers[0].trainable = not frozen
        model.save(tmp_path / "model.safetensors")
        found = lc.load(tmp_path / "model.safetensors", {kind.__name__: kind})
        assert found.layers[0].trainable is not frozen


def test_files_without_the_flag_are_read_and_bad_flags_refused(tmp_path):
    from lstmcore.models import model_file

    path = tmp_path / "model.safetensors"
    model = lc.Sequential([layers.Dense(1)])
    model.build((None, 2))
    model.save(path)
    tensors, document = model_file.read(path)
    assert "trainable" not in document["layers"][0]["config"]
    assert lc.load(path).layers[0].trainable is True
    document["layers"][0]["config"]["trainable"] = "no"
    model_file.write(path, tensors, document)
    with pytest.raises(ValueError, match=r"trainable: expected .* got 'no'"):
        lc.load(path)


def test_a_quantized_model_of_a_frozen_one(tmp_path):
    model = lc.Sequential([layers.LSTM(4, trainable=False), layers.Dense(1)])
    model.build((None, None, 3))
    small = lc.quantize(model)
    small.save(tmp_path / "small.safetensors")
    assert lc.load(tmp_path / "small.safetensors").layers[0].trainable is False


def test_summary_marks_frozen_layers():
    lines = []
    model = lc.Sequential(
        [
            layers.LSTM(3, trainable=False),
            layers.Residual([layers.Dense(3, trainable=False), layers.Dense(3)]),
            layers.Dropout(0.5),
            layers.Dense(2),
        ]
    )
    model.summary(print_fn=lines.append)
    assert "lstm (LSTM, frozen) " in lines[2]
    assert lines[-1] == "Not built yet"
    model.build((None, None, 2))
    lines.clear()
    model.summary(print_fn=lines.append)
    assert "lstm (LSTM, frozen) " in lines[2]
    assert "residual (Residual, partly frozen) " in lines[3]
    assert "dropout (Dropout) " in lines[4]
    assert "dense (Dense) " in lines[5]
    assert lines[-1] == "Parameters: 104 (20 trained, 84 frozen)"
    model.trainable = True
    lines.clear()
    model.summary(print_fn=lines.append)
    assert not any("frozen" in line for line in lines)
    assert lines[-1] == "Parameters: 104"


def test_summary_of_an_encoder_decoder():
    lines = []
    model = lc.EncoderDecoder(8, 9, embedding_size=3, units=4)
    model.get_layer("encoder").trainable = False
    model.summary(print_fn=lines.append)
    assert "encoder (LSTM, frozen) " in lines[3]
    frozen = 16 * (3 + 4 + 1)
    assert lines[-1].endswith(f"({model.count_params() - frozen:,} trained, {frozen:,} frozen)")
