"""Options of the cell: one table in the engine, with which every other list must agree."""

import ast
import dataclasses
import re
from pathlib import Path
from typing import get_type_hints

import pytest

from lstmcore import Activation, LSTMConfig, _core
from lstmcore._typing import CellActivation
from lstmcore.config import OPTIONS, StepOptions, WalkOptions, core_config
from lstmcore.convert.onnx import check_options

ROOT = Path(__file__).parents[3]
TYPES = {"int": int, "float": float, "bool": bool, "activation": CellActivation | Activation}
NAMES = [option.name for option in OPTIONS]
IN_SOURCE_TREE = pytest.mark.skipif(
    not (ROOT / "cpp").exists(), reason="sources and pages are only in the source tree"
)

# ---- lists that must agree with the table -----------------------------------------------------


def test_fields_of_the_configuration_are_the_options():
    hints = get_type_hints(LSTMConfig)
    fields = {field.name: field for field in dataclasses.fields(LSTMConfig)}
    assert list(fields) == NAMES
    defaults = LSTMConfig(1, 1)
    for option in OPTIONS:
        assert hints[option.name] == TYPES[option.kind], option.name
        default = fields[option.name].default
        if option.kind == "activation":
            assert isinstance(default, str), option.name
            assert getattr(defaults, option.name) == Activation(*option.default), option.name
        elif default is dataclasses.MISSING:
            assert option.default == 0, option.name  # which the engine refuses
            sizes = {"input_size": 1, "hidden_size": 1, option.name: option.default}
            with pytest.raises(ValueError, match=f"{option.name}: expected at least 1"):
                LSTMConfig(**sizes)
        else:
            assert default == option.default, option.name
            assert type(default) is TYPES[option.kind], option.name


@pytest.mark.parametrize(
    ("options", "elsewhere"),
    [
        (
            WalkOptions,  # in addition to the arguments of torch.nn.LSTM
            {"input_size", "hidden_size", "num_layers", "bias", "dropout", "bidirectional"}
            | {"proj_size"},
        ),
        (
            StepOptions,  # in addition to those of torch.nn.LSTMCell, one step of one layer
            {"input_size", "hidden_size", "num_layers", "bias", "dropout", "bidirectional"}
            | {"proj_size", "go_backwards"},
        ),
    ],
)
def test_keywords_of_modules_are_options(options, elsewhere):
    hints = get_type_hints(options)
    assert set(hints) == set(NAMES) - elsewhere
    for option in OPTIONS:
        if option.name in hints:
            assert hints[option.name] == TYPES[option.kind], option.name


@IN_SOURCE_TREE
def test_documented_options_are_those_of_the_table():
    text = (ROOT / "docs" / "variants.md").read_text()
    table = text.split("| `LSTMConfig` | default |")[1].split("\n\n")[0]
    rows = [[cell.strip(" `") for cell in line.split("|")[1:5]] for line in table.splitlines()[2:]]
    listed = {name: cells for name, *cells in rows}
    assert list(listed) == NAMES
    for option in OPTIONS:
        default, layer_name, onnx = listed[option.name]
        expected = option.default
        if option.kind == "activation":
            expected = f'"{option.default[0]}"'
        is_size = option.name in ("input_size", "hidden_size")
        assert default == ("" if is_size else str(expected)), option.name
        assert layer_name == (option.layer_name or ""), option.name
        assert onnx == ("lacks it" if option.onnx is None else option.onnx), option.name


# ---- what the table does ----------------------------------------------------------------------


def other_value(option):
    if option.kind == "bool":
        return not option.default
    if option.kind == "activation":
        return Activation("elu", 0.5, 0.0)
    return option.default + (2 if option.kind == "int" else 0.25)


def test_every_option_reaches_the_engine_and_comes_back():
    for option in OPTIONS:
        value = other_value(option)
        needed = {"proj_size": 2} if option.name == "proj_clip" else {}
        sizes = {"input_size": 3, "hidden_size": 4, **needed}
        config = LSTMConfig(**{**sizes, option.name: value})
        assert getattr(config, option.name) == value
        values = core_config(config).values()
        assert list(values) == NAMES
        assert values == core_config(_core_again(values)).values()
        for other in OPTIONS:
            if other.name not in (option.name, *sizes):
                assert values[other.name] == other.default, (option.name, other.name)


def _core_again(values):
    return LSTMConfig(
        **{name: Activation(*v) if isinstance(v, tuple) else v for name, v in values.items()}
    )


def test_the_engine_refuses_unknown_options():
    with pytest.raises(TypeError, match="no option gate_clap"):
        _core.LstmConfig(input_size=1, hidden_size=1, gate_clap=1.0)
    with pytest.raises(ValueError, match="input_size: expected at least 1, got 0"):
        _core.LstmConfig()


def test_onnx_lacks_what_the_table_says():
    lacking = {option.name for option in OPTIONS if option.onnx is None}
    assert lacking >= {"cell_clip", "zoneout_h", "zoneout_c", "proj_size", "layer_norm"}
    for option in OPTIONS:
        config = LSTMConfig(**{"input_size": 3, "hidden_size": 4, **_with(option)})
        if option.onnx is None:
            with pytest.raises(ValueError, match=f"{option.name}: ONNX's LSTM operator has no"):
                check_options(config)
        elif option.name in ("gate_clip", "output_clip"):
            with pytest.raises(ValueError, match="output_clip: ONNX's clip bounds"):
                check_options(config)
        elif option.name not in ("proj_clip", "coupled_gates"):
            check_options(config)
    check_options(LSTMConfig(3, 4, gate_clip=0.25, output_clip=0.25))


def _with(option):
    needed = {"proj_size": 2} if option.name == "proj_clip" else {}
    return {**needed, option.name: other_value(option)}


# ---- nothing else lists them ------------------------------------------------------------------

# Names that mean an option wherever they occur. The others are also names of weights, of masks
# (`MaskKind`) or of arguments of PyTorch's and Keras' layers, and may be listed as such.
UNMISTAKABLE = {
    option.name
    for option in OPTIONS
    if option.name.endswith(("_activation", "_clip", "_gates", "_norm", "_norm_epsilon"))
}

# Files that may name three of them or more, and what they do with the names.
ALLOWED = {
    "cpp/src/api/cell_options.hpp": "the table",
    "python/lstmcore/config.py": "the fields, which a type checker and the documentation need",
    "python/lstmcore/convert/onnx.py": "translates each attribute of ONNX's operator",
    "python/lstmcore/convert/_keras_parts.py": "translates the arguments of Keras' layer",
    "python/lstmcore/jax/engine.py": "has one activation for g and c, as Keras' layer",
    "python/lstmcore/keras/arrays.py": "translates the activations of Keras' layer",
    "python/lstmcore/layers/cell_options.py": "declares the layers' attributes for type checkers",
}


def names_in_python(text):
    """Return the options named by strings, keyword arguments, parameters and annotated fields."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Constant(value=str(name)) | ast.keyword(arg=str(name)) | ast.arg(arg=name):
                found.add(name)
            case ast.AnnAssign(target=ast.Name(id=name)):
                found.add(name)
    return found & UNMISTAKABLE


def names_in_cpp(text):
    """Return the options in literals, pointers to members and comparisons of the same member."""
    names = "|".join(sorted(UNMISTAKABLE, key=len, reverse=True))
    return {
        match.group(match.lastindex)
        for match in re.finditer(
            rf'"({names})"|LstmConfig::({names})\b|OPTION\(({names})\b'
            rf"|\w\.({names}) == \w+\.(?:{names})\b",
            text,
        )
    }


@IN_SOURCE_TREE
def test_no_other_file_lists_the_options():
    assert len(UNMISTAKABLE) >= 9
    python = sorted((ROOT / "python" / "lstmcore").rglob("*.py*"))
    cpp = [path for folder in ("src", "bindings") for path in (ROOT / "cpp" / folder).rglob("*pp")]
    found = {}
    for path in [*python, *sorted(cpp)]:
        if path.suffix in (".py", ".pyi", ".hpp", ".cpp"):
            read = names_in_python if path.suffix in (".py", ".pyi") else names_in_cpp
            names = read(path.read_text())
            if len(names) >= 3:
                found[path.relative_to(ROOT).as_posix()] = sorted(names)
    assert "cpp/src/api/cell_options.hpp" in found
    assert "python/lstmcore/config.py" in found
    listed = {path: names for path, names in found.items() if path not in ALLOWED}
    assert not listed, f"visit cell_options::table, or lstmcore.config.OPTIONS, instead: {listed}"


@pytest.mark.parametrize(
    ("read", "text"),
    [
        (names_in_python, "NAMES = ('gate_clip', 'cell_clip', 'proj_clip')"),
        (names_in_python, "LSTMConfig(1, 1, gate_clip=a, cell_clip=b, proj_clip=c)"),
        (names_in_python, "def f(gate_clip, cell_clip: float = 0, *, proj_clip=0): ..."),
        (names_in_python, "class A:\n  gate_clip: float\n  cell_clip: float\n  proj_clip: float"),
        (names_in_cpp, 'Names n = {"gate_clip", "cell_clip", "proj_clip"};'),
        (names_in_cpp, "&LstmConfig::gate_clip, &LstmConfig::cell_clip, &LstmConfig::proj_clip"),
        (
            names_in_cpp,
            "a.gate_clip == b.gate_clip && a.cell_clip == b.cell_clip && "
            "a.proj_clip == b.proj_clip",
        ),
    ],
)
def test_a_list_is_found(read, text):
    assert read(text) == {"gate_clip", "cell_clip", "proj_clip"}
