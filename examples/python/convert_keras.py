"""Turn a .keras file into a model file for Python and C++, and compare their predictions.

Reading the file needs only h5py. With `--compare` Keras loads it too, and both predict the same
random input. The program ends with status 1 if they differ by more than rounding.
"""

import argparse
import sys

import numpy as np

import lstmcore as lc
from lstmcore.convert import from_keras

GREATEST = 1e-5  # of the largest output: rounding of float32


def random_input(model: lc.Sequential, rows: int, steps: int) -> np.ndarray:
    """Make token ids, or numbers, of the shape that the model takes."""
    random = np.random.default_rng(0)
    shape = [rows] + [size or steps for size in model.input_shape[1:]]
    first = model.layers[0]
    if isinstance(first, lc.layers.Embedding):
        return random.integers(1, first.input_dim, shape)
    return random.normal(size=shape).astype(model.dtype)


def compare(path: str, model: lc.Sequential, x: np.ndarray) -> float:
    """Return the greatest difference from Keras' predictions, relative to the largest of them."""
    import keras

    expected = keras.saving.load_model(path, compile=False).predict(x, verbose=0)
    return float(abs(model.predict(x) - expected).max() / abs(expected).max())


def main() -> None:
    """Convert, save, and compare if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", help="a .keras file")
    parser.add_argument("destination", help="the .safetensors file to write")
    parser.add_argument("--compare", action="store_true", help="compare with Keras")
    parser.add_argument("--length", type=int, default=50, help="steps of a random sequence")
    options = parser.parse_args()

    model = from_keras(options.source, training=False)
    model.summary()
    model.save(options.destination)
    if options.compare:
        x = random_input(lc.Sequential.load(options.destination), 8, options.length)
        difference = compare(options.source, model, x)
        print(f"greatest difference from Keras: {difference:.1e} of the largest output")
        if not difference <= GREATEST:
            sys.exit(1)


if __name__ == "__main__":
    main()
