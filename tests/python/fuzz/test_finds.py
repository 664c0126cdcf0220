"""What fuzzing found, so that it stays mended: each call or file fails as promised."""

import importlib
import inspect
import time
import tracemalloc

import numpy as np
import pytest

import lstmcore as lc
from fuzz_kit import CORPUS
from lstmcore import convert, explain, functional, metrics, plots

import targets  # isort: skip


class Backtest:
    """Whatever a user may take for one."""


CALLS = {
    "learning_curve": (lambda: plots.learning_curve(0), TypeError, "history: expected a History"),
    "names of curves": (
        lambda: plots.learning_curve({0: [1.0]}),
        TypeError,
        "history: expected a History",
    ),
    "backtest": (lambda: plots.backtest(Backtest()), TypeError, "result: expected a Backtest"),
    "init_weights": (
        lambda: functional.init_weights("a"),
        TypeError,
        "config: expected an LSTMConfig, got 'a'",
    ),
    "init_weights of the class": (
        lambda: functional.init_weights(lc.LSTMConfig),
        TypeError,
        "config: expected an LSTMConfig",
    ),
    "dtype of init_weights": (
        lambda: functional.init_weights(lc.LSTMConfig(2, 3), dtype=7),
        ValueError,
        "dtype: expected 'float32' or 'float64', got 7",
    ),
    "textbook": (
        lambda: convert.from_textbook({0: np.ones(2)}),
        TypeError,
        "gates: expected names of matrices",
    ),
    "spans": (
        lambda: metrics.spans(["B-PER"], scheme=""),
        ValueError,
        "scheme: expected one of",
    ),
    "metrics.get": (lambda: metrics.get("mse", "mse"), TypeError, "loss: expected a Loss"),
    "Trace": (lambda: explain.Trace({"a": 1}, []), TypeError, "parts: expected a GateTrace"),
    "Trace of nothing": (lambda: explain.Trace({}, []), ValueError, "got none"),
}


@pytest.mark.parametrize("name", CALLS)
def test_calls(name):
    call, kind, message = CALLS[name]
    with pytest.raises(kind, match=message):
        call()


def test_a_module_that_is_none():
    pytest.importorskip("torch", reason="torch is not installed")
    torch = importlib.import_module("lstmcore.torch")
    for function in (torch.replace_lstm, torch.restore_lstm):
        with pytest.raises(TypeError, match="module: expected a torch.nn.Module, got 4"):
            function(4)


def test_a_backend_that_is_called_with_other_things():
    pytest.importorskip("onnx", reason="onnx is not installed")
    from lstmcore import onnx

    with pytest.raises(TypeError, match="model: expected a model that lstmcore.onnx.load"):
        onnx.BackendRep(4)
    with pytest.raises(TypeError, match="node: expected an onnx.NodeProto"):
        onnx.Backend.run_node(1, [])
    with pytest.raises(TypeError, match="device: expected a name such as 'CPU'"):
        onnx.Backend.supports_device(1)
    with pytest.raises(TypeError, match="program: expected what lstmcore.onnx.load compiles"):
        onnx.Model("a", "b", 1, [], [])


FILES = {
    "model_files/find_shape_of_many_axes.safetensors": r"got \(N, T, C, D, E, F, G, \?, ",
    "model_files/find_option_beyond_float32.safetensors": "output_clip: expected a finite number",
    "model_files/find_tags_without_weights.safetensors": "inputs of width 100000000, a score for",
    "keras_files/find_other_compression.keras": "not a readable zip archive: Invalid data stream",
    "keras_files/find_heap_without_end.h5": "lies in a damaged heap",
    "keras_files/find_text_of_4_gib.h5": "'model_config' would have 4294967295 bytes",
    "keras_files/find_names_again_and_again.h5": "layer_names: expected distinct names",
    "onnx_files/find_constants_that_read_again.onnx": r"\(Gather\): .* of others again, got",
    "onnx_files/find_functions_of_many_nodes.onnx": "its functions stand for .* nodes",
    "onnx_files/find_pool_of_powers.onnx": r"\(LpPool\): .* multiplications for constants",
    "onnx_files/find_if_without_a_branch.onnx": "branch: expected this graph, got None",
    "onnx_files/find_loop_that_collects.onnx": "expected results of all turns, and sequences",
    "onnx_files/find_places_of_ones.onnx": r"\(Mul\): expected an output of at most 1 GiB",
    "onnx_files/find_pool_for_hours.onnx": r"\(AveragePool\): .* multiplications for constants",
    "onnx_files/find_range_of_large_numbers.onnx": r"\(Range\): expected an output of at m",
    "onnx_files/find_scan_of_many_inputs.onnx": r"\(Scan\): num_scan_inputs: expected 0 to 2, got",
    "onnx_files/find_sequence_of_millions.onnx": r"\(SplitToSequence\): .* constants of at most",
    "onnx_files/find_texts_that_double.onnx": r"\(StringConcat\): expected constants of at most",
    "onnx_files/find_work_for_hours.onnx": r"\(Conv\): .* multiplications for constants",
    "onnx_files/find_points_between_others.onnx": r"\(RoiAlign\): expected an output of at most",
    "onnx_files/find_points_at_a_run.onnx": r"\(RoiAlign\): expected an output of at most",
    "onnx_files/find_skipped_words.onnx": "max_skip_count: expected at most 1024",
    "onnx_files/find_skipped_words_at_a_run.onnx": "max_skip_count: expected at most 1024",
    "onnx_files/find_constant_in_parts.onnx": r"\(Range\): expected constants of at most",
    "onnx_files/find_packed_weights.onnx": r"\(LSTM\): expected constants of at most",
    "onnx_files/find_name_of_bytes.onnx": "its functions stand for 69099 nodes",
    "onnx_files/find_many_parts.onnx": r"\(Erf\): expected at most 65 parts between",
    "onnx_files/find_crop_of_gigabytes.onnx": r"CropAndResize\): expected an output of at most",
    "onnx_files/find_zeros_twice.onnx": r"\(ConstantOfShape\): expected constants of at most",
    "onnx_files/find_gates_of_millions.onnx": r"\(LSTM\): expected a constant that takes at most",
    "onnx_files/find_determinant.onnx": r"\(Det\): .* multiplications for constants",
    "onnx_files/find_turns_known_before.onnx": r"\(Loop\): expected at most \d+ turns, got more",
    "onnx_files/find_squares_of_gigabytes.onnx": r"\(LRN\): expected an output of at most 1 GiB",
    "onnx_files/find_trees_of_gigabytes.onnx": r"Regressor\): expected an output of at most 1 GiB",
    "onnx_files/find_distinct_values.onnx": r"\(Unique\): expected a constant that takes at most",
    "onnx_files/find_window_of_gigabytes.onnx": r"MaxPool\): expected an output of at most 1 GiB",
    "onnx_files/find_regions_of_a_vector.onnx": "expected an input with at least . axes, got fewer",
}


@pytest.mark.parametrize("name", FILES)
def test_files(name):
    folder, _, _ = name.partition("/")
    target = targets.by_name(folder)
    if target.missing():
        pytest.skip(f"{target.missing()[0]} is not installed")
    target.prepare()
    path = CORPUS / name
    with pytest.raises(ValueError, match=FILES[name]):
        target.run((path.suffix, path.read_bytes()))


HARMLESS = {"model_files/find_window_of_gigabytes.safetensors"}
"""Files that are right, and were slow or took memory: `test_what_fuzzing_found_takes_little`."""


@pytest.mark.parametrize("name", HARMLESS)
def test_what_fuzzing_found_takes_little(name):
    target = targets.by_name(name.partition("/")[0])
    target.prepare()
    path = CORPUS / name
    before = time.process_time()
    tracemalloc.start()
    try:
        target.run((path.suffix, path.read_bytes()))
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()
    assert time.process_time() - before < 5


NATIVE = {
    "captures/find_gain_beyond_float.json": (
        "captures/test_captures.cpp",
        "what a stream could not play is refused when it is read",
    ),
    "captures/find_layers_that_do_not_fit.json": (
        "captures/test_captures.cpp",
        "what a stream could not play is refused when it is read",
    ),
    "c_interface/find_sequences_without_steps": (
        "sequence/test_row_map.cpp",
        "rows that are absent stay absent",
    ),
}
"""What the targets in C++ found, with the file and the name of its test in tests/cpp."""


def test_every_find_has_its_test():
    found = {f"{path.parent.name}/{path.name}" for path in CORPUS.glob("*/find*")}
    assert found == {*FILES, *HARMLESS, *NATIVE}
    for file, name in NATIVE.values():
        assert f'TEST("{name}' in (CORPUS.parents[1] / "cpp" / file).read_text(encoding="utf-8")
    assert all(inspect.isfunction(call) for call, _, _ in CALLS.values())
