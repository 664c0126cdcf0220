"""Every public function, class and method of the package, found by walking its modules."""

import inspect
from importlib import import_module
from types import ModuleType

PACKAGE = "lstmcore"


def bridges():
    """Return the names of the public modules that need another framework."""
    package = import_module(PACKAGE)
    return sorted(
        name for name in package._MODULES - set(package.__all__) if not name.startswith("_")
    )


def callables(modules):
    """Return the public functions and classes of modules and of those in them, by name."""
    found = {}
    pending = [(name, import_module(name) if isinstance(name, str) else name) for name in modules]
    seen = set()
    while pending:
        where, module = pending.pop()
        if id(module) in seen:
            continue
        seen.add(id(module))
        for name in sorted(getattr(module, "__all__", ()) or _plain_names(module)):
            value = getattr(module, name)
            full = f"{where}.{name}"
            if isinstance(value, ModuleType):
                if value.__name__.startswith(PACKAGE) and value.__name__.count(".") == 1:
                    pending.append((value.__name__, value))
            elif callable(value) and str(getattr(value, "__module__", "")).startswith(PACKAGE):
                found.setdefault(id(value), (full, value))
    return dict(sorted(found.values()))


def _plain_names(module):
    return [name for name in vars(module) if not name.startswith("_")]


PROTOCOLS = {
    "Callback",
    "Constraint",
    "Layer",
    "Loss",
    "Metric",
    "Optimizer",
    "Regularizer",
    "Schedule",
}
"""Bases for classes of users, whose methods the library calls itself, with what it has checked."""

CHECKED = {"forward", "backward"}
"""Methods of models that the training loop calls with batches that it has checked."""


def methods(kind):
    """Return the public methods of a class that are its own or its bases' in this package."""
    found = {}
    if not PROTOCOLS.isdisjoint(base.__name__ for base in kind.__mro__):
        return []
    for base in kind.__mro__:
        if not base.__module__.startswith(PACKAGE):
            continue
        for name, value in vars(base).items():
            public = name == "__call__" or not (name.startswith("_") or name in CHECKED)
            if public and (inspect.isfunction(value) or isinstance(value, classmethod)):
                found.setdefault(name, value)
    return sorted(found)


def parameters(value):
    """Return the parameters of a callable without self; [] if it does not tell."""
    try:
        found = list(inspect.signature(value).parameters.values())
    except (ValueError, TypeError):
        return []
    return [entry for entry in found if entry.name not in ("self", "cls")]
