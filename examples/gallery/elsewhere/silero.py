"""Silero's voice activity detector: its file in our engine and in ONNX Runtime, and our layers."""

import importlib.util
import os
import runpy
from pathlib import Path

import numpy as np
import onnxruntime
from safetensors.numpy import load_file

from lstmcore import onnx

PAGE = ("Voice activity", "../onnx.md")
MEASURES = {
    "difference from ONNX Runtime": ("largest difference of a probability", "lower"),
    "speech, by our layers": ("share of the sound", ""),
}
WISHED = {"difference from ONNX Runtime": "<= 0.0001"}
PROGRAM = Path(__file__).resolve().parents[2] / "python" / "voice_activity.py"


def run(
    full: bool = False, seed: int = 0, pictures: str | os.PathLike[str] | None = None
) -> dict[str, float]:
    """Listen to a minute of sound, to ten with `full`."""
    if importlib.util.find_spec("silero_vad") is None:
        raise ModuleNotFoundError("the weights are in the package silero-vad", name="silero_vad")
    program = runpy.run_path(str(PROGRAM))
    recording = program["make_recording"](600 if full else 60, seed)
    folder: Path = program["weights_folder"]()
    file = folder / "silero_vad_16k_sequence.onnx"
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    inputs = {"input": program["chunks_of"](recording)}
    inputs |= {name: np.zeros((1, 1, 128), np.float32) for name in ("h", "c")}
    ours, theirs = onnx.load(file).run(inputs)["speech_probs"], session.run(None, inputs)[0]
    layers = program["VoiceActivity"](load_file(folder / program["WEIGHTS"]))  # other weights
    return {
        "difference from ONNX Runtime": float(np.abs(ours - theirs).max()),
        "speech, by our layers": float(np.mean(layers(recording) > 0.5)),
    }
