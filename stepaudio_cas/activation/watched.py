"""What torch modules have besides tensors and parts, and whether that is still as it was.

It is looked at in each call, so it has to be quick: as long as all attributes are the very same
objects, only what can be written in place is compared. Nothing that is kept here keeps a module
alive.
"""

from __future__ import annotations

import dataclasses
import dis
import math
import os
import sys
import weakref
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any, Final

from stepaudio_cas import arrays
from stepaudio_cas.errors import Bypass
from stepaudio_cas.identity.digest import digest_array

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

NOT_TOLD: Final = frozenset({"training", "name_or_path", "transformers_version", "hotword_list"})
"""What does not count, the last because FunASR sets it anew in each call, from its options."""

OF_TORCH: Final = frozenset(
    {
        *("_parameters", "_buffers", "_modules", "_non_persistent_buffers_set"),
        *("_backward_hooks", "_backward_pre_hooks", "_is_full_backward_hook", "_forward_hooks"),
        *("_forward_hooks_with_kwargs", "_forward_hooks_always_called", "_forward_pre_hooks"),
        *("_forward_pre_hooks_with_kwargs", "_state_dict_hooks", "_state_dict_pre_hooks"),
        *("_load_state_dict_pre_hooks", "_load_state_dict_post_hooks"),
        *("_flat_weights", "_flat_weight_refs"),
        *("_is_hf_initialized", "_output_capturing_hooks_installed"),  # of transformers
    }
)
"""Attributes that torch looks after; what counts of them is looked at elsewhere."""

_SCALARS: Final = (bool, int, float, complex)
_TEXTS: Final = (str, bytes, type(None))
_GROUPS: Final = (list, tuple, set, frozenset)
_CODE: Final = (FunctionType, staticmethod, classmethod, property)
_BEFORE: Final = frozenset({"__init__", "__new__", "__repr__", "__init_subclass__", "extra_repr"})
_RUNS: Final = ("forward", "__call__", "_call_impl", "_wrapped_call_impl", "_conv_forward")
_MARK: Final = "__stepaudio_cas__"
_TUNED: Final = "__stepaudio_cas_tuned__"
_SMALL: Final = 1 << 20
_DEPTH: Final = 8


class Watched:
    """The attributes and the classes of some modules, as they were at one time."""

    def __init__(self, modules: Sequence[Any]) -> None:
        shared: dict[Any, Any] = {}
        self._places = [_Place(module, shared) for module in modules]
        self._kinds = {
            kind: _functions(kind)
            for kind in dict.fromkeys(k for module in modules for k in type(module).__mro__)
            if kind is not object
        }
        for kind in self._kinds:
            _check_origin(kind)

    def same(self, modules: Sequence[Any]) -> bool:
        """Tell whether these modules, which are still the same ones, have what they had.

        Raises `Bypass` if a class among them has other functions than it had.
        """
        for kind, functions in self._kinds.items():
            now = _functions(kind)
            if now != functions:
                _refuse(kind, functions, now)
        seen: dict[Any, Any] = {}
        return all(p.same(m, seen) for p, m in zip(self._places, modules, strict=True))


class _Place:
    """The attributes of one module."""

    __slots__ = ("_ids", "_kind", "_names", "changeable", "values")

    def __init__(self, module: Any, shared: dict[Any, Any]) -> None:
        own = module.__dict__
        self._kind, self._names = type(module), tuple(own)
        self._ids = tuple(map(id, own.values()))
        self.values: dict[str, Any] = {}
        self.changeable: list[str] = []
        for name, value in own.items():
            if name not in OF_TORCH and name not in NOT_TOLD:
                self.values[name] = value if _is_scalar(value) else _frozen_once(value, shared)
                if not _is_scalar(value):
                    self.changeable.append(name)

    def same(self, module: Any, seen: dict[Any, Any]) -> bool:
        own = module.__dict__
        ids = tuple(map(id, own.values()))
        if type(module) is not self._kind:
            return False
        if ids == self._ids and tuple(own) == self._names:
            changeable = self.changeable
            return not changeable or all(
                _matches(self.values[name], own[name], seen) for name in changeable
            )
        names = [name for name in own if name not in OF_TORCH and name not in NOT_TOLD]
        if set(names) != set(self.values) or not all(
            _alike(self.values[name], own[name], seen) for name in names
        ):
            return False
        for name in names:
            if _is_scalar(own[name]):
                self.values[name] = own[name]  # as long as it is held, its id is no other's
        self._ids, self._names = ids, tuple(own)
        return True


class _Is:
    """One object, equal only to itself; it is not kept alive."""

    __slots__ = ("_ref",)

    def __init__(self, thing: Any) -> None:
        self._ref: Callable[[], Any]
        try:
            self._ref = weakref.ref(thing)
        except TypeError:  # without weak references: such things hold no modules
            self._ref = lambda: thing

    def __eq__(self, other: object) -> bool:
        mine = self._ref()
        return type(other) is _Is and mine is not None and mine is other._ref()

    __hash__ = None  # type: ignore[assignment]


def _is_scalar(value: Any) -> bool:
    kind = type(value)
    return kind in _SCALARS or kind in _TEXTS or (kind is tuple and all(map(_is_scalar, value)))


def _alike(kept: Any, value: Any, seen: dict[Any, Any]) -> bool:
    if kept is value:
        return True
    if _is_scalar(value):
        return bool(frozen(kept) == frozen(value)) if _is_scalar(kept) else False
    return _matches(kept, value, seen)


def _matches(kept: Any, value: Any, seen: dict[Any, Any]) -> bool:
    """Compare a value with the copy of it, once for all modules that share both."""
    known = seen.get((id(kept), id(value)))
    if known is None:
        known = seen[id(kept), id(value)] = bool(kept == _frozen_once(value, seen))
    return bool(known)


def _frozen_once(value: Any, seen: dict[Any, Any]) -> Any:
    """Copy a value that many modules may share, as they do their configuration."""
    known = seen.get(id(value))
    if known is None:
        known = seen[id(value)] = frozen(value)
    return known


def frozen(value: Any, depth: int = 0) -> Any:
    """Copy a value into one that is equal to later copies as long as nothing has changed."""
    kind = type(value)
    if kind in _TEXTS or kind in _SCALARS:
        return value if kind in _TEXTS else (kind, repr(value))
    if depth < _DEPTH and isinstance(value, (dict, *_GROUPS)):
        return kind, _frozen_items(value, depth + 1)
    if kind is MethodType:
        return _Is(value.__self__), _Is(value.__func__)
    if arrays.is_array(value):
        return _Is(value), _contents(value)
    if _is_settings(value):
        return _Is(value), frozen(getattr(value, "__dict__", None), depth + 1)
    return _Is(value)


def _frozen_items(value: Any, depth: int) -> Any:
    if isinstance(value, dict):
        return [(name, frozen(item, depth)) for name, item in value.items()]
    if isinstance(value, (set, frozenset)):
        return set(value)
    return [frozen(item, depth) for item in value]


def _contents(value: Any) -> Any:
    """Tell an array's content, by what counts its writes or, where nothing does, by a copy."""
    try:
        return value._version, value.data_ptr(), value.dtype, value.shape, value.stride()  # noqa: SLF001
    except (AttributeError, RuntimeError):  # of numpy, or made in inference mode
        pass
    if value.nbytes <= _SMALL:
        return digest_array(value)
    raise Bypass("untracked-weights", "a large array that does not count what is written to it")


def _functions(kind: type) -> list[Any]:
    return [value for value in vars(kind).values() if type(value) in _CODE]


def _refuse(kind: type, before: list[Any], now: list[Any]) -> None:
    """Raise `Bypass` for a class with other functions than it had, unless patched here."""
    was, is_now = ({id(_unpatched(value)) for value in some} for some in (before, now))
    names = [
        name
        for name, value in vars(kind).items()
        if type(value) in _CODE and id(_unpatched(value)) not in was
    ]
    if not _BEFORE.issuperset(names) or (not names and was - is_now):
        said = ", ".join(names) or "a method"
        raise Bypass("changed-host", f"{said} of {kind.__qualname__} was replaced")


def _unpatched(value: Any) -> Any:
    return value.__wrapped__ if hasattr(value, _MARK) else value


def _check_origin(kind: type) -> None:
    """Raise `Bypass` for a class with functions that neither its own package nor torch has."""
    own = _package(kind.__module__)
    for name, value in vars(kind).items():
        looked_at = name in _RUNS if own == "torch" else name not in _BEFORE
        if looked_at and type(value) in _CODE:
            function = _innermost(value)
            place = "torch" if function is None else str(function.__globals__.get("__name__", ""))
            if _package(place) not in (own, "torch"):
                said = f"{name} of {kind.__qualname__} was replaced by one from {place}"
                raise Bypass("changed-host", said)


def _package(module: str) -> str:
    return module.partition(".")[0]


def _innermost(value: Any) -> Any:
    """Return the function that was written down, inside what has been put around it."""
    if isinstance(value, property):
        value = value.fget
    value = getattr(value, "__func__", value)
    for _ in range(_DEPTH * 2):
        inner = getattr(value, "__wrapped__", None)
        if inner is None:
            break
        value = inner
    return value if isinstance(value, FunctionType) else None


def _is_derived(module: Any, name: str, value: Any) -> bool:
    """Tell whether an array is what a property of the module computes now, and keeps there.

    What it has kept of other weights is not: that is told by what it holds.
    """
    if not name.startswith("_") or not arrays.is_array(value):
        return False
    for base in type(module).__mro__:
        for part in vars(base).values():
            getter = part.fget if type(part) is property else None
            if isinstance(getter, FunctionType) and _keeps(getter, name):
                other = object.__new__(type(module))
                other.__dict__.update(module.__dict__, **{name: None})
                with sys.modules["torch"].no_grad():
                    made = getter(other)
                return arrays.is_array(made) and digest_array(made) == digest_array(value)
    return False


def _keeps(getter: FunctionType, name: str) -> bool:
    steps = dis.get_instructions(getter)
    return any(step.opname == "STORE_ATTR" and step.argval == name for step in steps)


def is_tuned(module: Any, name: str) -> bool:
    """Tell whether a plan has compiled this method, which is still the class's own underneath.

    That it is compiled is told with all else that the plan has done.
    """
    plain = getattr(module.__dict__[name], _TUNED, None)
    own = getattr(type(module), name, None)
    return isinstance(plain, MethodType) and plain.__self__ is module and plain.__func__ is own


def attributes(module: Any) -> dict[str, Any]:
    """Tell a module's hyperparameters: its plain attributes, and those of its configuration.

    Raises `Bypass` if one of its methods was replaced by another one, which has no text here.
    """
    told: dict[str, Any] = {}
    for name, value in sorted(vars(module).items()):
        if name in OF_TORCH or name in NOT_TOLD or is_tuned(module, name):
            continue
        if callable(value) and isinstance(getattr(type(module), name, None), _CODE):
            kind = type(module).__qualname__
            raise Bypass("changed-host", f"{name} of one {kind} was replaced")
        told[name] = None if _is_derived(module, name, value) else _plain(value, 0)
    return told


def _plain(value: Any, depth: int) -> Any:
    """Copy a setting: of a path only its last part, of what is no plain value only its type."""
    if value is None or isinstance(value, (bool, int, float)):
        return repr(value) if isinstance(value, float) and not math.isfinite(value) else value
    if isinstance(value, str):
        return f"…/{os.path.basename(value)}" if os.path.isabs(value) else value
    if depth < _DEPTH:
        if isinstance(value, _GROUPS):
            items = [_plain(item, depth + 1) for item in value]
            return items if isinstance(value, (list, tuple)) else sorted(map(str, items))
        nested = _mapping(value)
        if nested is not None:
            named = {str(k): v for k, v in nested.items()}
            kept = {k: v for k, v in named.items() if k.lstrip("_") not in NOT_TOLD}
            return {k: _plain(v, depth + 1) for k, v in sorted(kept.items())}
    if arrays.is_array(value):
        return digest_array(value)
    return str(getattr(value, "__qualname__", type(value).__qualname__))


def _mapping(value: Any) -> Mapping[Any, Any] | None:
    """See a dict, a dataclass or a transformers configuration as a mapping."""
    if isinstance(value, dict):
        return value
    if isinstance(value, type):
        return None
    to_dict = getattr(value, "to_dict", None)
    if callable(to_dict):  # a dataclass as well, in newer versions, but not only
        chosen = {"attention": getattr(value, "_attn_implementation", None)}
        return {**to_dict(), **chosen}
    if dataclasses.is_dataclass(value):
        return {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    return None


def _is_settings(value: Any) -> bool:
    """Tell a dataclass or a transformers configuration."""
    if isinstance(value, type):
        return False
    return callable(getattr(value, "to_dict", None)) or dataclasses.is_dataclass(value)
