"""The peers' own environments, under build/bench, and how their processes are started."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from bench import instruction_sets

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "build" / "bench"
PEERS = Path(os.environ.get("LSTMCORE_BENCH_PEERS", FOLDER))
"""Where the environments are; the variable lets several copies of the source share them."""

REQUIREMENTS: dict[str, tuple[str, ...]] = {
    "pytorch": ("numpy", "torch==2.13.0", "keras"),
    "onnxruntime": ("numpy", "onnx", "onnxruntime"),
    "openvino": ("numpy", "onnx", "openvino"),
    "jax": ("numpy", "jax", "keras"),
    "tensorflow": ("numpy", "tensorflow-cpu"),
    "ncnn": ("numpy", "ncnn"),
    "mnn": ("numpy", "onnx", "MNN"),
    "litert": ("numpy", "ai-edge-litert"),
}
"""The packages of each environment. Keras comes with TensorFlow, too."""

_ENVIRONMENT = {"keras": "tensorflow", "keras-jax": "jax", "keras-torch": "pytorch"}

_BACKEND = {
    "keras": {"KERAS_BACKEND": "tensorflow"},
    "tensorflow": {"KERAS_BACKEND": "tensorflow"},
    "keras-jax": {"KERAS_BACKEND": "jax"},
    "keras-torch": {"KERAS_BACKEND": "torch"},
}

OWN = "lstmcore"
"""Name of lstmcore among the peers. ``lstmcore@avx2`` is lstmcore on another instruction set; the
suffix ``@bf16`` marks a peer with products of that precision."""

PRECISIONS = ("bf16x3", "bf16x2", "bf16", "int8")
"""Lower precisions of products, by lstmcore's names."""


def precision_of(peer: str) -> str:
    """Return the precision in the name of `peer`, or an empty string."""
    suffix = peer.partition("@")[2]
    return suffix if suffix in PRECISIONS else ""


def is_own(peer: str) -> bool:
    """Whether `peer` is lstmcore, on whichever instruction set."""
    return peer.partition("@")[0] == OWN


def interpreter(peer: str) -> Path:
    """Return the path of the Python of `peer`, installed or not; for lstmcore it is this one."""
    if is_own(peer):
        return Path(sys.executable)
    peer = peer.partition("@")[0]
    scripts = "Scripts" if os.name == "nt" else "bin"
    return PEERS / _ENVIRONMENT.get(peer, peer) / scripts / "python"


def install(peers: Sequence[str]) -> None:
    """Create the environments of `peers` that are missing or lack a package; report failures."""
    for name in dict.fromkeys(_ENVIRONMENT.get(peer, peer) for peer in peers):
        if is_own(name):
            continue
        wanted = "\n".join(REQUIREMENTS[name]) + "\n"
        stamp = PEERS / name / "requirements.txt"
        if interpreter(name).exists() and stamp.exists() and stamp.read_text() == wanted:
            continue
        print(f"installing {name}", flush=True)
        pip = [str(interpreter(name)), "-m", "pip", "--disable-pip-version-check", "--quiet"]
        try:
            if not interpreter(name).exists():
                subprocess.run([sys.executable, "-m", "venv", str(PEERS / name)], check=True)
            subprocess.run([*pip, "install", *REQUIREMENTS[name]], check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            print(f"{name} could not be installed: {error}", file=sys.stderr)
        else:
            stamp.write_text(wanted)


_LIBRARIES = {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "1", "JAX_PLATFORMS": "cpu"}
"""Variables for libraries of peers."""

_BEGINNINGS = ("OMP_", "KMP_", "GOMP_", "MKL_", "LSTMCORE_")
"""Variables that peers do not inherit."""


def variables(
    peer: str, threads: int, isa: str | None, compile_torch: bool, peers_isa: str | None = None
) -> dict[str, str]:
    """Return the environment variables of the process of `peer`.

    Thread counts are set here for the runtimes that read them when they start, and by each runner
    for the others. Idle threads spin for as long as each peer lets them: that is part of its speed,
    and the pause before each turn outlasts it.
    """
    result = {name: v for name, v in os.environ.items() if not name.startswith(_BEGINNINGS)}
    result |= dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
    result["OPENBLAS_NUM_THREADS"] = "1"
    if peers_isa:
        result |= instruction_sets.variables(peers_isa, peer)
    precision = precision_of(peer)
    if precision:
        result["LSTMCORE_BENCH_PRECISION"] = precision
    if is_own(peer):
        isa = isa if precision else peer.partition("@")[2] or isa
        if isa:
            result["LSTMCORE_ISA"] = isa
        return result
    result.pop("PYTHONPATH", None)
    result |= _LIBRARIES | _BACKEND.get(peer, {})
    if compile_torch:
        result["LSTMCORE_BENCH_TORCH_COMPILE"] = "1"
    return result


def in_company(peer: str, isa: str | None = None, peers_isa: str | None = None) -> dict[str, str]:
    """Return the variables of a process in which lstmcore and `peer` work with default threads."""
    result = {name: v for name, v in os.environ.items() if not name.startswith(_BEGINNINGS)}
    if peers_isa:
        result |= instruction_sets.variables(peers_isa, peer)
    if isa:
        result["LSTMCORE_ISA"] = isa
    if not is_own(peer):
        result |= _LIBRARIES | _BACKEND.get(peer, {}) | {"PYTHONPATH": str(_linked_package())}
    return result


def _linked_package() -> Path:
    """Return a folder with links to the running lstmcore, for another environment's Python.

    The compiled module may lie in another folder than the package, if it was installed in editable
    form.
    """
    package, core = import_module("lstmcore"), import_module("lstmcore._core")
    assert package.__file__ is not None
    assert core.__file__ is not None
    target = FOLDER / "package" / "lstmcore"
    target.mkdir(parents=True, exist_ok=True)
    for entry in (*Path(package.__file__).parent.iterdir(), Path(core.__file__)):
        link = target / entry.name
        if entry.name != "__pycache__":
            link.unlink(missing_ok=True)
            link.symlink_to(entry)
    return target.parent
