"""Turn NeuralHydrology's weights for many catchments into a model of one that runs day by day.

NeuralHydrology (Kratzert et al. 2022) trains one LSTM, its class CudaLSTM, on many catchments:
every day the LSTM sees the weather and the attributes of the catchment, all standardized, and a
linear layer turns its output into discharge. `catchment_model` reads such weights, and puts the
attributes of one catchment and all scales into them. The model that is left takes the weather in
its own units and returns mm per day, so that a program in C++ needs nothing but the model file: see
examples/cpp/streamflow.cpp.

Here the truth is a bucket model with snow, soil and two reservoirs, from which the weights are
learnt first. The program reports the Nash-Sutcliffe efficiency (Nash & Sutcliffe 1970) in fresh
years: 1 is perfect, 0 no better than the mean discharge. It ends with status 1 if it misses the
goal. In ``--output`` it leaves

    cudalstm.safetensors    the weights, with the names of NeuralHydrology's state dicts
    catchment.safetensors   the model of one catchment
    weather.csv             fresh years: date, the weather, and the true discharge
"""

import argparse
import datetime
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file, save_file

import lstmcore as lc
from lstmcore.convert import from_torch, load_torch, to_torch

Values = npt.NDArray[np.float64]
Linear = tuple[Values, Values]  # a matrix (U, C) and a bias (U,)

GOAL = 0.9
WEATHER = ("precipitation", "temperature", "evaporation")  # mm, degrees Celsius, mm
UNITS, EPOCHS, CATCHMENTS, YEARS, FRESH_YEARS = 32, 40, 3, 60, 5
WINDOW, STRIDE = 365, 185  # days of a training sequence, and between the starts of two
SPIN_UP = 180  # days of a sequence that are not trained on, while the state fills
FRESH_SPIN_UP = 365  # days at the start of fresh years that are not scored


# ---- from NeuralHydrology's weights to the model of one catchment --------------------------------

LSTM, HEAD = "lstm", "head.net.0"
OF_ATTRIBUTES = "embedding_net.statics_embedding.net"
OF_WEATHER = "embedding_net.dynamics_embeddings.0.net"
"""Where a state dict of CudaLSTM has its parts; the two nets before the LSTM are optional."""


@dataclass(frozen=True)
class Scales:
    """Means and standard deviations by which training standardized its data: rows 0 and 1.

    Attributes
    ----------
    weather, attributes, discharge : ndarray, shapes (2, D), (2, S), (2, 1)
    """

    weather: Values
    attributes: Values
    discharge: Values


def catchment_model(
    state: Mapping[str, Any], attributes: Values, scales: Scales, activation: Any = "tanh"
) -> lc.Sequential:
    """Make a model of one catchment, which takes the weather alone, in its own units.

    Parameters
    ----------
    state : mapping of str to array
        A state dict of CudaLSTM whose last layer is linear. In the LSTM's inputs the weather comes
        first, as there.
    attributes : ndarray, shape (S,)
        Attributes of the catchment, such as its mean slope, in their own units.
    scales : Scales
    activation : {"tanh", "sigmoid", "linear"}
        Of the hidden layers of the two nets, if there are any.

    Returns
    -------
    Sequential
        Weather (N, T, D) to discharge (N, T, 1).
    """
    weights, config = from_torch(state, prefix=LSTM)
    known = embedded((attributes - scales.attributes[0]) / scales.attributes[1], state, activation)
    # Attributes never change, so their part of the sum is a part of the bias.
    matrix = weights["weight_ih_l0"].astype(float)
    width = matrix.shape[1] - len(known)
    bias = weights["bias_l0"] + matrix[:, width:] @ known
    maps = [*linears(state, OF_WEATHER), (matrix[:, :width], bias)]
    maps[0] = of_raw_inputs(maps[0], scales.weather)
    weights["weight_ih_l0"], weights["bias_l0"] = maps.pop()
    head = of_raw_outputs((state[f"{HEAD}.weight"], state[f"{HEAD}.bias"]), scales.discharge)

    nets = {f"net_{place}": linear for place, linear in enumerate(maps)}
    parts: list[Any] = [lc.layers.Input((None, scales.weather.shape[1]))]
    for place, (name, (_, bias)) in enumerate(nets.items()):
        hidden = place < len(nets) - 1
        parts.append(lc.layers.Dense(len(bias), activation if hidden else None, name=name))
    parts.append(lc.layers.LSTM(config.hidden_size, return_sequences=True, name=LSTM))
    parts.append(lc.layers.Dense(len(head[1]), name="head"))
    model = lc.Sequential(parts)

    small = lc.LSTMConfig(width, config.hidden_size)
    tensors = to_torch({name: single(array) for name, array in weights.items()}, small, prefix=LSTM)
    for name, (matrix, bias) in {**nets, "head": head}.items():
        tensors |= {f"{name}.weight": single(matrix), f"{name}.bias": single(bias)}
    load_torch(model, tensors, {name: name for name in (*nets, LSTM, "head")})
    return model


def single(values: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Round to float32."""
    return values.astype(np.float32)


def linears(state: Mapping[str, Any], prefix: str) -> list[Linear]:
    """Return the linear layers of a net; between them are activations, which have no weights."""
    parts = [name.split(".") for name in state if name.startswith(f"{prefix}.")]
    places = sorted({int(name[-2]) for name in parts})
    names = [f"{prefix}.{place}" for place in places]
    return [
        (np.asarray(state[f"{name}.weight"], float), np.asarray(state[f"{name}.bias"], float))
        for name in names
    ]


def embedded(values: Values, state: Mapping[str, Any], activation: str) -> Values:
    """Return attributes as the LSTM sees them: as the net for attributes, if any, leaves them."""
    functions: dict[str, Any] = {
        "tanh": np.tanh,
        "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
        "linear": np.asarray,
    }
    net = linears(state, OF_ATTRIBUTES)
    for place, (matrix, bias) in enumerate(net):
        values = matrix @ values + bias
        if place < len(net) - 1:
            values = functions[activation](values)
    return values


def of_raw_inputs(linear: Linear, scale: Values) -> Linear:
    """Change a linear layer of standardized inputs to one of the inputs themselves."""
    matrix = linear[0] / scale[1]
    return matrix, linear[1] - matrix @ scale[0]


def of_raw_outputs(linear: Linear, scale: Values) -> Linear:
    """Change a linear layer with a standardized output to one with the output itself."""
    matrix, bias = (np.asarray(part, float) for part in linear)
    return scale[1][:, None] * matrix, scale[1] * bias + scale[0]


# ---- the truth -----------------------------------------------------------------------------------


def draw_weather(days: int, random: np.random.Generator) -> Values:
    """Return daily precipitation, mean temperature and potential evaporation (days, 3)."""
    season = 2 * np.pi * np.arange(days) / 365
    rows = np.empty((days, 3))
    wet, warmth = False, 0.0
    for day in range(days):
        wet = random.random() < (0.6 if wet else 0.25)
        warmth = 0.7 * warmth + random.normal(0, 2.5)
        rows[day, 0] = random.gamma(1.0, 6.0) if wet else 0.0
        rows[day, 1] = 7 - 11 * np.cos(season[day] - 0.35) + warmth
        rows[day, 2] = 2.1 - 1.9 * np.cos(season[day] - 0.15)
    return rows


def buckets(weather: Values, attributes: Values) -> Values:
    """Return the discharge (days,) of a catchment: snow, soil, a quick and a slow reservoir.

    The attributes are the soil's capacity in mm, and the shares of the two reservoirs that leave
    them each day.
    """
    capacity, quick_share, slow_share = attributes
    snow, soil, quick, slow = 0.0, capacity / 2, 0.0, 20.0
    discharge = np.empty(len(weather))
    for day, (water, temperature, evaporation) in enumerate(weather):
        if temperature < 0:
            snow, water = snow + water, 0.0
        else:
            melt = min(snow, 3 * temperature)
            snow, water = snow - melt, water + melt
        recharge = water * (soil / capacity) ** 2
        soil += water - recharge
        soil -= evaporation * min(1.0, soil / (0.7 * capacity)) if soil > evaporation else 0.0
        recharge, soil = recharge + max(soil - capacity, 0.0), min(soil, capacity)
        quick += recharge
        down = min(quick, 1.5)
        slow += down
        quick -= down
        discharge[day] = quick_share * quick + slow_share * slow
        quick, slow = quick * (1 - quick_share), slow * (1 - slow_share)
    return discharge


def efficiency(true: Values, simulated: Values) -> float:
    """Return the Nash-Sutcliffe efficiency."""
    return float(1 - ((true - simulated) ** 2).sum() / ((true - true.mean()) ** 2).sum())


# ---- training ------------------------------------------------------------------------------------


def scale_of(values: Values) -> Values:
    """Return mean and standard deviation of each column, as two rows."""
    return np.stack([values.mean(axis=0), values.std(axis=0)])


def train(weather: Values, attributes: Values, discharge: Values, seed: int) -> tuple[Any, Scales]:
    """Train on all catchments: weather (M, days, 3), attributes (M, 3), discharge (M, days).

    Returns
    -------
    state : dict of str to ndarray
        With the names of CudaLSTM's state dicts.
    scales : Scales
    """
    count, days = discharge.shape
    scales = Scales(
        scale_of(weather.reshape(-1, 3)), scale_of(attributes), scale_of(discharge.reshape(-1, 1))
    )
    static = (attributes - scales.attributes[0]) / scales.attributes[1]
    inputs = np.concatenate(
        [
            (weather - scales.weather[0]) / scales.weather[1],
            np.broadcast_to(static[:, None], (count, days, 3)),
        ],
        axis=2,
    )
    targets = (discharge[..., None] - scales.discharge[0]) / scales.discharge[1]
    starts = range(0, days - WINDOW + 1, STRIDE)
    x = np.concatenate([inputs[:, start : start + WINDOW] for start in starts])
    y = np.concatenate([targets[:, start : start + WINDOW] for start in starts])
    counted = np.broadcast_to(np.arange(WINDOW) >= SPIN_UP, y.shape[:2]).astype(np.float32)

    model = lc.Sequential(
        [
            lc.layers.LSTM(UNITS, return_sequences=True, forget_bias=3.0, name=LSTM),
            lc.layers.Dense(1, name="head"),
        ],
        seed=seed,
    )
    batch = 16
    rate = lc.schedules.CosineDecay(0.01, EPOCHS * -(-len(x) // batch))
    model.compile(lc.optimizers.Adam(rate, global_clipnorm=1.0), "mse")
    model.fit(x, y, batch, EPOCHS, verbose=0, sample_weight=counted)
    return neuralhydrology_state(model), scales


def neuralhydrology_state(model: lc.Sequential) -> dict[str, Any]:
    """Return the weights under the names of CudaLSTM."""
    weights = dict(model.weights)
    kernel, bias = weights.pop("head.kernel"), weights.pop("head.bias")
    of_lstm = {name.removeprefix(f"{LSTM}."): values for name, values in weights.items()}
    sizes = lc.LSTMConfig(of_lstm["weight_ih_l0"].shape[1], UNITS)
    head = {f"{HEAD}.weight": np.ascontiguousarray(kernel.T), f"{HEAD}.bias": bias}
    return {**to_torch(of_lstm, sizes, prefix=LSTM), **head}


# ---- the program ---------------------------------------------------------------------------------


def write_csv(path: Path, weather: Values, discharge: Values) -> None:
    """Write a line for each day, with a header."""
    first = datetime.date(2001, 1, 1)
    lines = [",".join(["date", *WEATHER, "discharge"])]
    for day, row in enumerate(np.column_stack([weather, discharge])):
        date = first + datetime.timedelta(days=day)
        lines.append(",".join([date.isoformat(), *(f"{value:.9g}" for value in row)]))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    """Train, convert, test in fresh years, and write the files."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=Path(), help="folder of the files")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    random = np.random.default_rng(options.seed)
    attributes = random.uniform([60, 0.1, 0.02], [160, 0.3, 0.06], (CATCHMENTS, 3))
    weather = np.stack([draw_weather(365 * YEARS, random) for _ in attributes])
    discharge = np.stack([buckets(*pair) for pair in zip(weather, attributes, strict=True)])
    state, scales = train(weather, attributes, discharge, options.seed)
    weights = options.output / "cudalstm.safetensors"
    save_file(state, weights)

    model = catchment_model(load_file(weights), attributes[0], scales)
    model.save(options.output / "catchment.safetensors")
    fresh = draw_weather(365 * FRESH_YEARS, random)
    true = buckets(fresh, attributes[0])
    write_csv(options.output / "weather.csv", fresh, true)
    simulated = model.predict(fresh[None], verbose=0)[0, :, 0]
    reached = efficiency(true[FRESH_SPIN_UP:], simulated[FRESH_SPIN_UP:])
    print(f"Nash-Sutcliffe efficiency in {FRESH_YEARS - 1} fresh years: {reached:.4f}")
    if reached < GOAL:
        sys.exit(f"expected at least {GOAL}")


if __name__ == "__main__":
    main()
