"""Holds peers to an instruction set, as if the processor had no other, and sees whether they obey.

Some libraries choose their code by the processor and read no variable. No table is trusted: after
every turn the kernel says whether a thread of the process used AVX-512 meanwhile, and a peer that
did is left out of the run.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

_NUMPY = "X86_V4 AVX512_ICL AVX512_SPR"

_ALL: dict[str, dict[str, str]] = {
    "avx2": {
        # oneDNN: PyTorch's LSTM, OpenVINO, TensorFlow's products.
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        # PyTorch's own kernels.
        "ATEN_CPU_CAPABILITY": "avx2",
        # MKL in PyTorch, on Intel's processors. On AMD's, MKL takes its AVX2 code anyway.
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        # XLA: TensorFlow's compiled functions.
        "XLA_FLAGS": "--xla_cpu_max_isa=AVX2",
        # What all of them call: NumPy, OpenBLAS and the C library's memcpy.
        "NPY_DISABLE_CPU_FEATURES": _NUMPY,
        "OPENBLAS_CORETYPE": "Haswell",
        "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX512BW",
    }
}
"""Environment variables that hold libraries to an instruction set. ONNX Runtime, ncnn and LiteRT
read none; MNN needs none for AVX2."""

# XLA's products are YNNPACK's, which reads no variable; without it they are Eigen's.
_JAX = {"XLA_FLAGS": "--xla_cpu_max_isa=AVX2 --xla_cpu_experimental_ynn_fusion_type="}

_SOME: dict[str, dict[str, dict[str, str]]] = {"avx2": {"jax": _JAX, "keras-jax": _JAX}}
"""The same for single peers."""

HELD = tuple(_ALL)
"""Instruction sets that peers can be held to."""


def variables(isa: str, peer: str) -> dict[str, str]:
    """Return the environment variables that hold `peer` to `isa`, one of `HELD`."""
    return _ALL[isa] | _SOME[isa].get(peer, {})


_TICK = 0.008
"""Seconds by which the kernel's account of AVX-512 may be late: two ticks of 250 a second."""


@dataclass(frozen=True)
class Watch:
    """Sees whether a process uses AVX-512, from its construction on.

    The kernel notes for each thread when it last held AVX-512 state, whenever the thread is
    interrupted or replaced; ``/proc/PID/task/TID/arch_status`` shows how long ago that was.
    """

    process: int
    begin: float

    @staticmethod
    def start(process: int) -> Watch:
        """Begin to watch `process`."""
        return Watch(process, time.monotonic())

    def saw_avx512(self) -> bool | None:
        """Whether a thread used AVX-512 since the start; None if this system does not say."""
        ages = [_age(path) for path in Path(f"/proc/{self.process}/task").glob("*/arch_status")]
        if not ages:
            return None
        elapsed = time.monotonic() - self.begin
        return any(age is not None and age < elapsed - _TICK for age in ages)


def _age(path: Path) -> float | None:
    """Return the seconds since a thread last held AVX-512 state; None if it never did."""
    try:
        text = path.read_text()
    except OSError:  # the thread has ended
        return None
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name == "AVX512_elapsed_ms" and int(value) >= 0:
            return int(value) / 1000
    return None
