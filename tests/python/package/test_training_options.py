"""Options of models, optimizers and callbacks that change after they are made."""

import numpy as np
import pytest

import lstmcore as lc
from lstmcore import layers
from option_kit import X


def test_a_new_seed_of_a_model_takes_effect():
    model, other = lc.Sequential([layers.Dense(2)]), lc.Sequential([layers.Dense(2)], seed=7)
    model.seed = 7
    for each in (model, other):
        each.build((None, 3))
    np.testing.assert_array_equal(model.get_weights()[0], other.get_weights()[0])
    with pytest.raises(TypeError, match="seed: expected an integer"):
        model.seed = "7"
    pairs = lc.EncoderDecoder(5, 5)
    pairs.scheduled_sampling = 0.25
    assert pairs.sampling_probability(0) == 0.25
    with pytest.raises(ValueError, match="scheduled_sampling"):
        pairs.scheduled_sampling = 2.0


CHANGED = {
    "SGD": {
        "learning_rate": 0.5,
        "momentum": 0.9,
        "nesterov": True,
        "clipnorm": 0.01,
        "clipvalue": 0.01,
        "global_clipnorm": 0.01,
    },
    "RMSprop": {"learning_rate": 0.5, "rho": 0.1, "epsilon": 1.0, "clipnorm": 0.01},
    "Adam": {"learning_rate": 0.5, "beta_1": 0.1, "beta_2": 0.1, "epsilon": 1.0},
    "AdamW": {"learning_rate": 0.5, "weight_decay": 0.5, "beta_1": 0.1, "clipvalue": 0.01},
}


@pytest.mark.parametrize(
    ("kind", "option"), [(kind, option) for kind in CHANGED for option in CHANGED[kind]]
)
def test_options_of_optimizers_change_between_steps(kind, option):
    """A change before the first step is like passing the option; later changes act too."""
    beside = {"momentum": 0.5} if option == "nesterov" else {}
    make = getattr(lc.optimizers, kind)

    def trained(optimizer, change_after):
        model = lc.Sequential([layers.Dense(2, seed=1)])
        model.compile(optimizer, "mse")
        for step in range(4):
            if step == change_after:
                setattr(optimizer, option, CHANGED[kind][option])
            model.train_on_batch(X[:, 0], X[:, 1, :2])
        return model.get_weights()[0]

    given = trained(make(**beside, **{option: CHANGED[kind][option]}), None)
    plain = trained(make(**beside), None)
    at_once, later = trained(make(**beside), 0), trained(make(**beside), 2)
    np.testing.assert_array_equal(at_once, given)
    assert (later != plain).any()
    assert (later != given).any()


def test_a_changed_option_of_an_optimizer_is_checked_as_in_the_constructor():
    optimizer = lc.optimizers.AdamW()
    for option, value, error in (
        ("weight_decay", -1.0, ValueError),
        ("clipnorm", 0.0, ValueError),
        ("beta_1", 1.0, ValueError),
        ("epsilon", "a", TypeError),
        ("learning_rate", -1.0, ValueError),
    ):
        before = dict(vars(optimizer))
        with pytest.raises(error, match=f"{option}: expected"):
            setattr(optimizer, option, value)
        assert vars(optimizer) == before
    optimizer.clipnorm = 1.0
    with pytest.raises(ValueError, match="clipnorm and clipvalue: expected at most one"):
        optimizer.clipvalue = 1.0


def test_a_momentum_that_changes_keeps_the_velocity():
    optimizer = lc.optimizers.SGD(0.1, momentum=0.5)
    model = lc.Sequential([layers.Dense(2)])
    model.compile(optimizer, "mse")
    model.train_on_batch(X[:, 0], X[:, 1, :2])
    velocity = optimizer.slots["velocity"]
    optimizer.momentum = 0.9
    assert optimizer.slots["velocity"] is velocity
    optimizer.momentum = 0.0
    assert optimizer.slots == {}


def test_options_of_callbacks_change():
    stopping = lc.callbacks.EarlyStopping("loss")
    stopping.patience, stopping.monitor, stopping.mode = 3, "accuracy", "max"
    assert (stopping.patience, stopping.monitor, stopping.mode) == (3, "accuracy", "max")
    assert stopping._monitor.sign == 1.0
    with pytest.raises(ValueError, match="mode: expected one of 'auto'.*did you mean 'max'"):
        stopping.mode = "maxi"
    with pytest.raises(ValueError, match="patience: expected an integer of at least 0"):
        stopping.patience = -1
    plateau = lc.callbacks.ReduceLROnPlateau("loss")
    plateau.factor, plateau.min_delta = 0.5, 0.25
    assert (plateau.factor, plateau._monitor.min_delta) == (0.5, 0.25)
