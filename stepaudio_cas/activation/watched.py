"""The attributes and the classes of torch modules, and whether those are still as they were."""

from __future__ import annotations

from types import FunctionType
from typing import TYPE_CHECKING, Any, Final

from stepaudio_cas.activation.kept import Kept
from stepaudio_cas.activation.told import CODE, OF_TORCH, is_helper, is_module, opened, package
from stepaudio_cas.errors import Bypass

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping, Sequence

_BEFORE: Final = frozenset({"__init__", "__new__", "__repr__", "__init_subclass__", "extra_repr"})
_RUNS: Final = ("forward", "__call__", "_call_impl", "_wrapped_call_impl", "_conv_forward")
_MARK: Final = "__stepaudio_cas__"
_DEEPEST: Final = 16
_NO_CODE: Final = frozenset(
    {
        *("__abstractmethods__", "__annotate__", "__annotate_func__", "__annotations__"),
        *("__annotations_cache__", "__dict__", "__doc__", "__firstlineno__", "__module__"),
        *("__static_attributes__", "__weakref__", "_abc_impl"),
    }
)


class Watched:
    """The attributes and the classes of some modules, as they were at one time."""

    def __init__(
        self, network: Any, modules: Sequence[Any], roots: Container[str], helpers: Iterable[type]
    ) -> None:
        """Look at what they are, and into what they have that is of the packages `roots`.

        Helpers are the classes of the objects in them, which are looked at like their own.
        """
        self._types = list(map(type, (network, *modules)))
        self._kinds = {
            kind: _functions(kind)
            for kind in dict.fromkeys(k for own in self._types for k in own.__mro__)
            if kind is not object
        }
        for kind in self._kinds:
            _check_origin(kind)
        for helper in helpers:
            for kind in helper.__mro__:
                if is_helper(kind, roots):
                    self._kinds[kind] = _functions(kind)
        self._attributes = Kept(
            _maps(network, [module.__dict__ for module in modules]),
            OF_TORCH,
            lambda value: opened(value, roots),
        )
        self._classes = Kept(
            [vars(kind) for kind in self._kinds],
            _NO_CODE,
            lambda value: None if isinstance(value, CODE) else opened(value, roots),
        )

    def same(self, network: Any, modules: Sequence[Any], owns: Sequence[Mapping[str, Any]]) -> bool:
        """Tell whether these modules, which are still the same ones, have what they had.

        Raises `Bypass` if a class among them has other functions than it had.
        """
        same = self._classes.same([vars(kind) for kind in self._kinds])
        if not same:
            for kind, functions in self._kinds.items():
                _refuse(kind, functions, _functions(kind))
        return (
            same
            and list(map(type, (network, *modules))) == self._types
            and self._attributes.same(_maps(network, owns))
        )


def _maps(network: Any, owns: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the attributes of modules, and first what is described if that is none."""
    return [*([] if is_module(network) else [{"": network}]), *owns]


def _functions(kind: type) -> list[Any]:
    return [value for value in vars(kind).values() if type(value) in CODE]


def _refuse(kind: type, before: list[Any], now: list[Any]) -> None:
    """Raise `Bypass` for a class with other functions than it had, unless patched here."""
    was, is_now = ({id(_unpatched(value)) for value in some} for some in (before, now))
    names = [
        name
        for name, value in vars(kind).items()
        if type(value) in CODE and id(_unpatched(value)) not in was
    ]
    if not _BEFORE.issuperset(names) or (not names and was - is_now):
        said = ", ".join(names) or "a method"
        raise Bypass("changed-host", f"{said} of {kind.__qualname__} was replaced")


def _unpatched(value: Any) -> Any:
    return value.__wrapped__ if hasattr(value, _MARK) else value


def _check_origin(kind: type) -> None:
    """Raise `Bypass` for a class with functions that neither its own package nor torch has."""
    own = package(kind)
    for name, value in vars(kind).items():
        looked_at = name in _RUNS if own == "torch" else name not in _BEFORE
        if looked_at and type(value) in CODE:
            function = _innermost(value)
            place = "torch" if function is None else str(function.__globals__.get("__name__", ""))
            if place.partition(".")[0] not in (own, "torch"):
                said = f"{name} of {kind.__qualname__} was replaced by one from {place}"
                raise Bypass("changed-host", said)


def _innermost(value: Any) -> Any:
    """Return the function that was written down, inside what has been put around it."""
    if isinstance(value, property):
        value = value.fget
    value = getattr(value, "__func__", value)
    for _ in range(_DEEPEST):
        inner = getattr(value, "__wrapped__", None)
        if inner is None:
            break
        value = inner
    return value if isinstance(value, FunctionType) else None
