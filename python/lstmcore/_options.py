"""Objects whose attributes are checked when they are set.

A name that is not an option is an error, a new value is checked as the constructor checks it, and
an option that cannot change any more raises an error that says why.
"""

import dis
import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from types import CodeType
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, cast

from lstmcore._suggest import did_you_mean, keywords_of, unexpected

__all__ = ["Checked", "arguments", "by_class"]

F = TypeVar("F", bound=Callable[..., Any])

_PACKAGE = "lstmcore."
_ANY = "*"  # stands for all names, in a class that calls setattr


class Checked:
    """Base of what users make and change: layers, models, optimizers, losses, callbacks.

    The arguments of a constructor are its options; each is an attribute of the same name. After
    construction, setting

    - an option makes a second object with the new value, so that the constructor checks it, and
      copies the result, unless `_why_fixed` says why the option cannot change any more;
    - a property with a setter, a name in `_open_attributes`, a method, or a name that begins with
      an underscore sets it as usual;
    - anything else raises AttributeError.

    A subclass outside the package may also set the attributes that its methods assign or that its
    body annotates. The arguments of its own constructor are not options.
    """

    _open_attributes: ClassVar[tuple[str, ...]] = ()
    """Public attributes that are not options and may be set."""

    _methods_name_state: ClassVar[bool] = False
    """Whether the package's own subclasses may also set what their methods assign."""

    _keras_only: ClassVar[tuple[str, ...]] = ()
    """Arguments of Keras that are accepted with one value and not stored."""

    _made = False

    def __init_subclass__(cls, **more: Any) -> None:
        super().__init_subclass__(**more)
        if "__init__" in vars(cls):
            cls.__init__ = _constructor(cls.__init__)  # type: ignore[method-assign]

    def __init__(self) -> None:
        vars(self).setdefault("_made", True)  # for a class without a constructor of its own

    if not TYPE_CHECKING:  # a class with a __setattr__ may set any attribute, for type checkers

        def __setattr__(self, name: str, value: Any) -> None:
            if name[0] == "_" or not self._made or name in self._open_attributes:
                object.__setattr__(self, name, value)
                return
            kind = type(self)
            owner = _owner(kind, name)
            if owner is not None:
                self._set_option(owner, name, value)
            elif not _own_names(kind).isdisjoint((name, _ANY)) or _replaceable(kind, name):
                object.__setattr__(self, name, value)
            else:
                raise _refusal(self, name)

    def _why_fixed(self, name: str) -> str | None:
        """Return why the option `name` cannot change any more; None: it can."""
        return None

    def _set_option(self, owner: "type[Checked]", name: str, value: Any) -> None:
        descriptor = inspect.getattr_static(type(self), name, None)
        if isinstance(descriptor, property) and descriptor.fset is not None:  # the setter checks
            object.__setattr__(self, name, value)
            return
        if (reason := self._why_fixed(name)) is not None:
            raise AttributeError(
                f"{type(self).__name__}.{name}: cannot be set, since {reason}", name=name, obj=self
            )
        options = {key: getattr(self, key) for key in arguments(owner)}
        self._take_over(name, vars(owner(**{**options, name: value})))

    def _take_over(self, name: str, found: Mapping[str, Any]) -> None:
        """Copy the option `name`, and what depends on it, from the attributes of a new object."""
        object.__setattr__(self, name, found[name])


def _constructor(function: Callable[..., None]) -> Callable[..., None]:
    """Wrap an `__init__` to suggest names for unknown keywords, and to set `_made` at its end."""

    @functools.wraps(function)
    def __init__(self: Checked, *args: Any, **kwargs: Any) -> None:
        # Looked up here, since a decorator of the class may complete the signature.
        known = _keywords(__init__)
        if known is not None and not kwargs.keys() <= known.keys():
            raise TypeError(unexpected(type(self).__name__, kwargs, known))
        own = vars(self)
        outermost = "_made" not in own
        if outermost:
            own["_made"] = False
        function(self, *args, **kwargs)
        if outermost:
            own["_made"] = True

    return __init__


_keywords = functools.lru_cache(maxsize=1024)(keywords_of)


def by_class(function: F) -> F:
    """Cache the results of a function of a class."""
    return cast(F, functools.lru_cache(maxsize=1024)(function))


@by_class
def arguments(kind: type) -> tuple[str, ...]:
    """Return the names of the arguments of `kind` that it stores as attributes."""
    ignored = getattr(kind, "_keras_only", ())
    entries = inspect.signature(kind).parameters.values()
    return tuple(
        entry.name
        for entry in entries
        if entry.kind not in (entry.VAR_KEYWORD, entry.VAR_POSITIONAL) and entry.name not in ignored
    )


def _ours(kind: type) -> bool:
    return kind.__module__.startswith(_PACKAGE)


@by_class
def _owner(kind: type[Checked], name: str) -> type[Checked] | None:
    """Return the class of the package whose constructor has the option `name`, if there is one."""
    first = next(base for base in kind.__mro__ if _ours(base) and issubclass(base, Checked))
    return first if name in arguments(first) else None


@by_class
def _own_names(kind: type[Checked]) -> frozenset[str]:
    """Return the attributes that users' classes assign in methods or annotate in their bodies.

    Type checkers find them in the same way, and so does ``__static_attributes__`` of Python 3.13.
    """
    found: set[str] = set()
    for base in kind.__mro__:
        if base.__module__ != "builtins" and (not _ours(base) or kind._methods_name_state):
            found.update(vars(base).get("__annotations__", ()))
            for entry in vars(base).values():
                for code in _codes(entry):
                    found.update(_assigned(code))
                    if "setattr" in code.co_names and not _ours(base):
                        found.add(_ANY)
    return frozenset(found)


def _codes(entry: Any) -> Iterator[CodeType]:
    """Yield the code objects of a method or a property, decorated or not."""
    if isinstance(entry, property):
        for part in (entry.fget, entry.fset, entry.fdel):
            yield from _codes(part)
    elif hasattr(entry, "__func__"):
        yield from _codes(entry.__func__)
    elif hasattr(entry, "__wrapped__"):
        yield from _codes(entry.__wrapped__)
    elif hasattr(entry, "__code__"):
        yield entry.__code__


def _assigned(code: CodeType) -> Iterator[str]:
    for step in dis.get_instructions(code):
        if step.opname == "STORE_ATTR":
            yield step.argval
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _assigned(inner)


def _replaceable(kind: type[Checked], name: str) -> bool:
    """Return whether `name` is a method, a settable property or an attribute of a user's class."""
    for base in kind.__mro__:
        if name in vars(base):
            entry = vars(base)[name]
            if isinstance(entry, property):
                return entry.fset is not None
            return callable(entry) or not _ours(base)
    return False


def _refusal(thing: Checked, name: str) -> AttributeError:
    """Return the error for an attribute that may not be set."""
    kind = type(thing)
    known = _settable(kind)
    if inspect.getattr_static(thing, name, None) is not None:
        message = f"{kind.__name__}.{name} cannot be set"
        hint = ""
    else:
        message = f"{kind.__name__} has no attribute {name!r}"
        hint = did_you_mean(name, known)
    if not hint:
        hint = f"; what can be set is {', '.join(known)}" if known else ""
    return AttributeError(message + hint, name=name, obj=thing)


def _settable(kind: type[Checked]) -> list[str]:
    """Return the names that may be set, for error messages."""
    ours = next(base for base in kind.__mro__ if _ours(base) and issubclass(base, Checked))
    properties = [
        name
        for name in dir(kind)
        if isinstance(entry := inspect.getattr_static(kind, name), property) and entry.fset
    ]
    own = _own_names(kind)
    names = {*arguments(ours), *kind._open_attributes, *properties, *own} - {_ANY}
    return sorted(name for name in names if not name.startswith("_"))
