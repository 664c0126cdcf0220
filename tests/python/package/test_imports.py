"""Imports of the package run one way: no cycle of modules, and no room imports a later one."""

import ast
from pathlib import Path

import lstmcore as lc

PACKAGE = Path(lc.__file__).parent
ENGINE = "lstmcore._core"  # compiled; imports nothing of the package when it is imported

# Each room may import those before it. A room is a folder or a file of the package; all files that
# begin with an underscore are the first room, and `lstmcore` itself is `""`.
ROOMS = (
    ("_",),
    ("plots", "datasets", "sampling", "features"),
    # the engine
    ("precision", "config", "cpu"),
    ("functional",),
    ("stream", "memory"),
    # what is built on it
    ("constraints", "regularizers"),
    ("layers",),
    ("training",),
    ("callbacks", "losses", "metrics", "optimizers", "schedules"),
    ("models",),
    ("decoding", "distributed", "explain"),
    # other frameworks
    ("convert",),
    ("jax", "onnx", "sklearn", "torch"),
    ("aeon", "sktime"),
    ("keras",),  # with PyTorch as its backend
    # what users see
    ("",),
    ("cli",),
    ("__main__",),
)
ORDER = {room: place for place, rooms in enumerate(ROOMS) for room in rooms}


def module_names():
    """Return the file of every module, by the module's name."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = ("lstmcore", *path.relative_to(PACKAGE).with_suffix("").parts)
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = module_names()


def imports_of(name):
    """Yield what a module imports, in functions too, and whether only type checkers see it."""
    pending = [(ast.parse(MODULES[name].read_text(encoding="utf-8")), False)]
    while pending:
        node, types = pending.pop()
        if isinstance(node, ast.Import):
            yield from ((alias.name, types) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: a relative import"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield (inner if inner in MODULES or inner == ENGINE else node.module), types
        guarded = isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"
        if guarded:
            pending += [(child, True) for child in node.body]
            pending += [(child, types) for child in node.orelse]
        else:
            pending += [(child, types) for child in ast.iter_child_nodes(node)]


def room_of(module):
    room = module.partition(".")[2].partition(".")[0]
    return "_" if room.startswith("_") and room not in ORDER else room


EDGES = {
    name: {
        (target, types)
        for target, types in imports_of(name)
        if target in MODULES and target != name and not (name == "lstmcore" and types)
    }
    for name in MODULES
}


def test_every_room_has_its_place():
    assert {room_of(name) for name in MODULES} == set(ORDER)
    assert sum(map(len, EDGES.values())) > 500  # the search finds imports


def test_rooms_import_only_those_before_them():
    against = [
        f"{name} imports {target}"
        for name, targets in EDGES.items()
        for target, _ in targets
        if room_of(name) != room_of(target) and ORDER[room_of(name)] <= ORDER[room_of(target)]
    ]
    assert against == []


def test_no_module_imports_itself_through_others():
    done: set[str] = set()

    def visit(name, path):
        assert name not in path, " -> ".join([*path[path.index(name) :], name])
        if name in done:
            return
        for target, types in EDGES[name]:
            if not types:
                visit(target, [*path, name])
        done.add(name)

    for name in MODULES:
        visit(name, [])


def test_imports_for_type_checkers_stay_in_their_room():
    """They may close a cycle, since nothing runs, but only within a room."""
    outside = [
        f"{name} imports {target}"
        for name, targets in EDGES.items()
        for target, types in targets
        if types and room_of(name) != room_of(target)
    ]
    assert outside == []
