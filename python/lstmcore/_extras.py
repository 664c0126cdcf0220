"""What to install for what the package works with and does not bring."""

__all__ = ["PACKAGES", "how_to_install"]

PACKAGES = {
    "torch": "torch",
    "keras": "keras h5py",
    "onnx": "onnx",
    "sklearn": "scikit-learn",
    "plot": "matplotlib",
}
"""The packages of each extra of pyproject.toml, which only an installation from source can name."""


def how_to_install(extra: str) -> str:
    """Return the command, which works however lstmcore itself was installed."""
    return f"pip install {PACKAGES[extra]}"
