"""Write a few catchments for the tests of examples/cpp/bmi, and their discharge.

Usage: python tests/golden/make_catchments.py
"""

from pathlib import Path

import numpy as np

import lstmcore as lc

FOLDER = Path(__file__).parent / "catchments"
CATCHMENTS, DAYS = 5, 12
CONFIG = """\
# Five catchments with two attributes each.
model = catchments.safetensors
attributes = attributes.csv
forcings = precipitation [mm d-1], temperature [degC], evaporation [mm d-1]
outputs = discharge [mm d-1], soil_moisture [mm]
time_step = 86400
end_time = 1036800  # twelve days
"""


def write(name: str, lines: list[str]) -> None:
    """Write a text file."""
    (FOLDER / name).write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    """Write everything."""
    FOLDER.mkdir(exist_ok=True)
    layers = lc.layers
    model = lc.Sequential(
        [
            layers.Dense(6, activation="tanh"),
            layers.LSTM(8, return_sequences=True),
            layers.Dense(2),
        ],
        seed=21,
    )
    model.build((None, None, 5))
    model.set_weights([2 * values for values in model.get_weights()])
    model.save(FOLDER / "catchments.safetensors")
    random = np.random.default_rng(0)
    forcings = random.normal(size=(CATCHMENTS, DAYS, 3)).astype(np.float32)
    attributes = random.normal(size=(CATCHMENTS, 2)).astype(np.float32)
    repeated = np.broadcast_to(attributes[:, None], (CATCHMENTS, DAYS, 2))
    y = model.predict(np.concatenate([forcings, repeated], axis=2), verbose=0)
    write("catchments.cfg", CONFIG.splitlines())
    table = ["catchment,longitude,latitude,slope,forest"]
    table += [
        f"river {n},{5 + n / 4},{50 - n / 8},{slope:.9g},{forest:.9g}"
        for n, (slope, forest) in enumerate(attributes)
    ]
    write("attributes.csv", table)
    for name, values in (("forcings.txt", forcings), ("outputs.txt", y)):  # day by day
        np.savetxt(FOLDER / name, values.swapaxes(0, 1).reshape(-1, values.shape[2]), fmt="%.9g")


if __name__ == "__main__":
    main()
