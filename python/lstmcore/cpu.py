"""The instruction set in use and the number of threads."""

from __future__ import annotations

from dataclasses import dataclass

from lstmcore import _core

get_num_threads = _core.get_num_threads
set_num_threads = _core.set_num_threads


@dataclass(frozen=True)
class CPUInfo:
    """What the engine found and uses.

    Attributes
    ----------
    isa : str
        Instruction set in use: ``"baseline"``, ``"avx2"`` (x86-64-v3) or ``"avx512"`` (x86-64-v4).
    supported_isas : tuple of str
        Instruction sets that this machine can run, slowest first. The environment variable
        ``LSTMCORE_ISA`` chooses one of them.
    num_threads : int
        Largest number of threads that one call may use.
    thread_provider : str
        What would run the threads of a call now: ``"own pool"``, or ``"OpenMP (path)"`` in a
        process where PyTorch or the program itself uses that OpenMP runtime.
    version : str
        Version of the engine.
    product_units : dict of str to str
        What computes products of each precision: ``"amx"``, ``"avx512_bf16"``, ``"avx512_vnni"``,
        ``"avx_vnni"``, ``"neon_bf16"``, ``"neon_dot"``, or the instruction set; followed by
        `` fp32`` if its float32 multiply-adds are used instead.
    """

    isa: str
    supported_isas: tuple[str, ...]
    num_threads: int
    thread_provider: str
    version: str
    product_units: dict[str, str]


def cpu_info() -> CPUInfo:
    """Return the instruction set in use, the number of threads and the version.

    Returns
    -------
    CPUInfo
    """
    return CPUInfo(
        isa=_core.isa(),
        supported_isas=tuple(_core.supported_isas()),
        num_threads=_core.get_num_threads(),
        thread_provider=_core.thread_provider(),
        version=_core.__version__,
        product_units={name: _core.product_unit(name) for name in _core.precision_names()},
    )
