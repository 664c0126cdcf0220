"""``lstmcore convert``: convert a model to another format, as the endings of the files say."""

import argparse
import copy
from pathlib import Path
from typing import Any, cast

from lstmcore._files import check_source
from lstmcore._suggest import did_you_mean
from lstmcore.cli.answers import load_model
from lstmcore.cli.layout import METADATA_NAME
from lstmcore.cli.options import add_command, check_not_source, if_interrupted
from lstmcore.cli.report import note
from lstmcore.layers import GlobalMaxPooling1D
from lstmcore.models import Model, Sequential

__all__ = ["add_parser"]

EXAMPLE = """  lstmcore convert model.keras model.safetensors
  lstmcore convert model.safetensors model.onnx
  lstmcore convert trained.pt model.safetensors --like model.safetensors --names lstm=encoder"""

OLD_KERAS = (".h5", ".hdf5")
"""Endings of Keras 2's files, which hold a model or weights alone."""

READ = (".safetensors", ".keras", ".weights.h5", *OLD_KERAS, ".pt", ".pth", ".bin")
WRITTEN = (".safetensors", ".keras", ".weights.h5", ".onnx", ".pt", ".pth")


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "convert",
        _run,
        "Convert a model to another format; the endings of the files determine the formats. "
        f"From {', '.join(READ)} to {', '.join(WRITTEN)}. Files that hold only weights "
        "(.weights.h5, some .h5 of Keras 2, and state dicts of PyTorch) need --like, a model of "
        "the same layers.",
        EXAMPLE,
    )
    parser.add_argument("source", metavar="IN", help="file to read")
    parser.add_argument("target", metavar="OUT", help="file to write; an existing one is replaced")
    parser.add_argument("--like", metavar="MODEL", help="lstmcore model whose layers to fill")
    parser.add_argument(
        "--names",
        metavar="LAYER=PREFIX",
        nargs="+",
        help="prefixes of the layers' weights in PyTorch's file (default: the layers' names)",
    )
    parser.add_argument(
        "--from-ids",
        action="store_true",
        help="leave out the TextVectorization, which other formats cannot express",
    )


def _run(options: argparse.Namespace) -> int:
    source, target = _ending(options.source, "IN", READ), _ending(options.target, "OUT", WRITTEN)
    check_not_source(options.target, options.source, "OUT")
    torch = {".pt", ".pth", ".bin"}
    if options.names is not None and not {source, target} & torch:
        raise ValueError("--names: expected only with a file of PyTorch, .pt or .pth")
    with if_interrupted(f"nothing was written to {options.target}"):
        model = _read(options, source)
        if options.from_ids:
            model = _without_text(model)
        _write(options, model, target)
    if METADATA_NAME in model.metadata and target != ".safetensors":
        note(
            f"{options.target} does not store what the model's columns and classes are, nor how "
            "they are standardized"
        )
    print(f"wrote {options.target}")
    return 0


def _ending(path: str, name: str, known: tuple[str, ...]) -> str:
    for ending in known:
        if path.lower().endswith(ending):
            return ending
    found = Path(path).suffix
    hint = " (Keras 2's, which is only read)" if found in OLD_KERAS else ""
    raise ValueError(
        f"{name}: expected a file ending in {', '.join(known)}, got {path}{hint}"
        f"{did_you_mean(found, known) if not hint else ''}"
    )


def _read(options: argparse.Namespace, ending: str) -> Sequential:
    from lstmcore.convert import from_keras, load_keras_weights, load_torch

    check_source(options.source, "IN")
    weights_alone = ending in (".weights.h5", ".pt", ".pth", ".bin")
    if ending not in OLD_KERAS and weights_alone != (options.like is not None):
        raise ValueError(
            f"--like: expected {'a model of the same layers' if weights_alone else 'none'} with "
            f"IN {options.source}, which holds "
            f"{'weights without their layers' if weights_alone else 'a whole model'}"
        )
    if ending == ".safetensors":
        return load_model(options.source)
    if ending == ".keras" or (ending in OLD_KERAS and options.like is None):
        made = from_keras(options.source, training=False)
        graph = isinstance(made, Model)
        if graph and (options.from_ids or not options.target.lower().endswith(".safetensors")):
            raise ValueError(
                f"OUT: expected a file ending in .safetensors without --from-ids, since "
                f"{options.source} holds a graph of layers, got {options.target}"
            )
        return cast(Sequential, made)  # or a Model, which is only saved
    model = load_model(options.like)
    if ending == ".weights.h5" or ending in OLD_KERAS:
        load_keras_weights(model, options.source)
    else:
        load_torch(model, options.source, _prefixes(model, options.names))
    return model


def _write(options: argparse.Namespace, model: Sequential, ending: str) -> None:
    if ending == ".safetensors":
        model.save(options.target)
        return
    if model.vectorizer is not None and ending in (".keras", ".weights.h5", ".onnx"):
        raise ValueError(
            f"--from-ids: expected for {options.source}, which takes texts, since {ending} "
            "cannot express a TextVectorization"
        )
    if ending in (".keras", ".weights.h5"):
        from lstmcore.convert import to_keras

        try:
            to_keras(model, options.target)
        except ValueError as error:
            pooled = GlobalMaxPooling1D.__name__ in str(error)
            advice = "; 'lstmcore train --pooling mean' makes such a model" if pooled else ""
            raise ValueError(f"{error}{advice}") from None
    elif ending == ".onnx":
        from lstmcore.onnx import export

        export(model, options.target)
    else:
        from lstmcore.convert import save_torch

        save_torch(model, options.target, _prefixes(model, options.names))


def _prefixes(model: Sequential, names: list[str] | None) -> dict[str, str]:
    """Return the prefix of each layer with weights: the given one, else the layer's name."""
    prefixes = {str(layer.name): str(layer.name) for layer in model._network if layer.weights}
    for entry in names or []:
        layer, equals, prefix = entry.partition("=")
        if not equals or layer not in prefixes:
            raise ValueError(
                f"--names: expected LAYER=PREFIX for layers out of {', '.join(prefixes)}, got "
                f"{entry!r}{did_you_mean(layer, prefixes)}"
            )
        prefixes[layer] = prefix
    return prefixes


def _without_text(model: Sequential) -> Sequential:
    """Copy a model without its TextVectorization."""
    if model.vectorizer is None:
        raise ValueError("--from-ids: expected a model that takes texts, got one that takes none")
    result = copy.deepcopy(model)
    result._layers = result.layers[1:]
    result.metadata = {}
    return result
