"""What torch modules have besides tensors and parts, in words that are the same in each process."""

from __future__ import annotations

import contextlib
import dataclasses
import dis
import enum
import functools
import inspect
import math
import os
import re
import sys
import weakref
from array import array
from collections import OrderedDict, deque
from operator import attrgetter
from pathlib import PurePath
from types import (
    BuiltinFunctionType,
    CodeType,
    FunctionType,
    MappingProxyType,
    MemberDescriptorType,
    MethodType,
)
from typing import TYPE_CHECKING, Any, Final

from stepaudio_cas import arrays
from stepaudio_cas.errors import Bypass
from stepaudio_cas.identity.digest import digest_array, digest_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence

NOT_TOLD: Final = frozenset(
    {
        *("training", "name_or_path", "_name_or_path", "transformers_version"),
        *("hotword_list", "nn_eval_block_size"),  # FunASR sets them in each call, before they count
        *("cmvn_file", "bpemodel", "token_list_repr"),  # and has read these
    }
)
"""What does not count."""

OF_TORCH: Final = frozenset(
    {
        *("_parameters", "_buffers", "_modules", "_non_persistent_buffers_set"),
        *("_backward_hooks", "_backward_pre_hooks", "_is_full_backward_hook", "_forward_hooks"),
        *("_forward_hooks_with_kwargs", "_forward_hooks_always_called", "_forward_pre_hooks"),
        *("_forward_pre_hooks_with_kwargs", "_state_dict_hooks", "_state_dict_pre_hooks"),
        *("_load_state_dict_pre_hooks", "_load_state_dict_post_hooks", "training"),
    }
)
"""Attributes that every module has; what counts of them is looked at elsewhere."""

NOT_COUNTED: Final = NOT_TOLD | {
    *("_flat_weight_refs", "_is_hf_initialized", "_output_capturing_hooks_installed"),
    *("cached_sequence_length", "cached_rotary_positional_embedding"),  # of the last call
}
"""Attributes that make no difference."""

CODE: Final = (FunctionType, staticmethod, classmethod, property)
_SCALARS: Final = frozenset({bool, int, float, complex, str, bytes, type(None)})
_GROUPS: Final = (list, tuple, set, frozenset, deque, bytearray, array)
_SET_BY_US: Final = "__stepaudio_cas_tuned__"
_HARMLESS: Final = sys.stdlib_module_names | {"torch", "numpy"}
_DEPTH: Final = 12
_PACKED: Final = ("Script", "RecursiveScript", "ExportedProgram")
_TOLD_BY_NAME: Final = frozenset({"dtype", "layout", "memory_format"})
_HOLDERS: Final = ("argparse", "collections", "types", "torch.distributions.")
"""Where objects are from that hold what a model was given, whichever package it is of."""
_TOLD_BY_TEXT: Final = frozenset({"datetime", "decimal", "fractions", "operator"})


def counts(name: str) -> bool:
    """Tell whether an attribute of a module of this name can make a difference."""
    return name not in OF_TORCH and name not in NOT_COUNTED


def is_scalar(value: Any) -> bool:
    """Tell whether a value cannot change, and is told by what it says."""
    kind = type(value)
    return kind in _SCALARS or (kind is tuple and all(map(is_scalar, value)))


def is_module(value: Any) -> bool:
    """Tell a torch module."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.nn.Module)


def package(kind: type) -> str:
    """Return the package that a class is from."""
    return str(kind.__module__).partition(".")[0]


def opened(value: Any, roots: Container[str]) -> Any:
    """Return a dict or a sequence that says what is in a value; None if it is not looked into.

    That are groups, configurations, and objects that are from the same packages as the modules.
    """
    kind = type(value)
    if issubclass(kind, (dict, *_GROUPS)):
        return value
    if kind in _BOUND:
        return _BOUND[kind](value)
    if issubclass(kind, (type, *CODE)) or is_module(value):
        return None
    if package(kind) == "omegaconf":  # the rest is what it remembers of being read
        return {name: vars(value).get(name) for name in ("_content", "_val")}
    if not (_is_settings(kind) or package(kind) in roots or _holds(kind)):
        return None
    inside, slots = getattr(value, "__dict__", None), _slots(kind)
    own = inside if type(inside) is dict else None
    return {**(own or {}), **_filled(value, slots)} if slots else own


def _kept_by(function: FunctionType) -> list[Any]:
    """Return what a function runs, and what it has of its own besides."""
    cells = [_cell(cell) for cell in function.__closure__ or ()]
    options = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
    return [function.__code__, *cells, *options]


def _cell(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return None


_BOUND: Final[Mapping[type, Callable[[Any], Sequence[Any]]]] = {
    functools.partial: attrgetter("func", "args", "keywords"),
    MethodType: attrgetter("__self__", "__func__"),
    FunctionType: _kept_by,
    functools._lru_cache_wrapper: lambda function: (function.__wrapped__,),  # noqa: SLF001
    MappingProxyType: lambda mapping: (dict(mapping),),
}
"""What there is in functions, and in what is put around things, by their kinds."""


def _holds(kind: type) -> bool:
    place = str(kind.__module__)
    return place.startswith(_HOLDERS[-1]) or place in _HOLDERS


_slotted: weakref.WeakKeyDictionary[type, list[tuple[str, MemberDescriptorType]]]
_slotted = weakref.WeakKeyDictionary()


def _slots(kind: type) -> list[tuple[str, MemberDescriptorType]]:
    """Find what a class has slots for, under the names that they really have."""
    known = _slotted.get(kind)
    if known is None:
        known = _slotted[kind] = [
            (name, slot)
            for base in kind.__mro__
            for name, slot in vars(base).items()
            if type(slot) is MemberDescriptorType and hasattr(base, "__slots__")
        ]
    return known


def _filled(value: Any, slots: Iterable[tuple[str, MemberDescriptorType]]) -> dict[str, Any]:
    found = {}
    for name, slot in slots:
        with contextlib.suppress(AttributeError):  # an empty one
            found[name] = slot.__get__(value)
    return found


def is_opaque(value: Any) -> bool:
    """Tell what is known by its type alone, though others of that type may do other things."""
    kind = type(value)
    if arrays.is_array(value) or is_module(value):
        return False
    if isinstance(value, (type, enum.Enum, BuiltinFunctionType, *CODE)):
        return False
    return package(kind) not in _HARMLESS


def modules_in(
    name: str, value: Any, roots: Container[str], helpers: dict[type, None]
) -> Iterator[tuple[str, Any]]:
    """Find the modules in plain lists, dicts and objects, of which torch knows nothing.

    The classes of those objects that are from the same packages are added to the helpers.
    """
    met: set[int] = set()
    ahead = [(name, value, 0)]
    while ahead:
        name, value, depth = ahead.pop()
        if is_scalar(value) or id(value) in met:
            continue
        met.add(id(value))
        if is_module(value):
            yield name, value
            continue
        inside = None if arrays.is_array(value) else opened(value, roots)
        if inside is not None and is_helper(type(value), roots):
            helpers[type(value)] = None
        if inside is not None and depth < _DEPTH:
            items = inside.items() if isinstance(inside, dict) else enumerate(inside)
            ahead += [(f"{name}.{own}", item, depth + 1) for own, item in items]


def is_helper(kind: type, roots: Container[str]) -> bool:
    """Tell the class of objects that models of these packages compute with."""
    return package(kind) in roots and not issubclass(kind, enum.Enum)


def attributes(module: Any, roots: Container[str]) -> dict[str, Any]:
    """Tell a module's hyperparameters: its plain attributes, and those of its configuration.

    Raises `Bypass` if one of its methods was replaced by another one, which has no text here.
    """
    told: dict[str, Any] = {}
    for name, value in sorted(vars(module).items()):
        if not counts(name) or is_tuned(module, name):
            continue
        if callable(value) and isinstance(getattr(type(module), name, None), CODE):
            kind = type(module).__qualname__
            raise Bypass("changed-host", f"{name} of one {kind} was replaced")
        told[name] = None if _is_derived(module, name, value) else tell(value, roots)
    return told


def of_class(kind: type, roots: Container[str]) -> dict[str, Any]:
    """Tell what a class has besides its code, which has a text."""
    return {
        name: tell(value, roots)
        for name, value in sorted(vars(kind).items())
        if counts_in_class(name) and not isinstance(value, CODE)
    }


def counts_in_class(name: str) -> bool:
    """Tell whether what a class has under this name can make a difference."""
    return not name.startswith(("__", "_abc_"))


def is_tuned(module: Any, name: str) -> bool:
    """Tell whether a plan has compiled this method, which is still the class's own underneath.

    That it is compiled is told with all else that the plan has done.
    """
    plain = inspect.getattr_static(module.__dict__[name], _SET_BY_US, None)
    own = getattr(type(module), name, None)
    return isinstance(plain, MethodType) and plain.__self__ is module and plain.__func__ is own


def tell(value: Any, roots: Container[str], within: tuple[int, ...] = ()) -> Any:
    """Copy a setting: of a path only its last part, of what has no content only its type."""
    if isinstance(value, enum.Enum) or value is None or isinstance(value, (bool, int, float)):
        return _number(value)
    if isinstance(value, (str, PurePath)):
        text = str(value)
        return f"…/{os.path.basename(text)}" if os.path.isabs(text) else text
    if arrays.is_array(value):
        return digest_array(value)
    if id(value) in within or len(within) > _DEPTH:
        return type(value).__qualname__
    return _inside(value, roots, (*within, id(value)))


def _number(value: Any) -> Any:
    if isinstance(value, enum.Enum):
        return f"{type(value).__qualname__}.{value.name}"
    return repr(value) if isinstance(value, float) and not math.isfinite(value) else value


def _inside(value: Any, roots: Container[str], within: tuple[int, ...]) -> Any:
    """Tell what has parts, by these."""
    if isinstance(value, FunctionType):
        return _function(value, roots, within)
    if type(value) in _BOUND:
        parts = [tell(item, roots, within) for item in opened(value, roots)]
        return [type(value).__name__, *parts]
    if isinstance(value, _GROUPS):
        items = [tell(item, roots, within) for item in value]
        return sorted(items, key=repr) if isinstance(value, (set, frozenset)) else items
    nested = _mapping(value, roots)
    if nested is None:
        return _thing(value)
    if isinstance(value, OrderedDict) or not all(type(key) is str for key in nested):
        pairs = [[tell(k, roots, within), tell(v, roots, within)] for k, v in nested.items()]
        return pairs if isinstance(value, OrderedDict) else sorted(pairs, key=repr)
    return {k: tell(v, roots, within) for k, v in sorted(nested.items()) if k not in NOT_TOLD}


def _thing(value: Any) -> str:
    """Tell what has no parts that are looked into."""
    kind = type(value)
    if package(kind) == "torch" and kind.__name__.startswith(_PACKED):
        raise Bypass("no-source", f"what is in a {kind.__qualname__} cannot be read")
    if isinstance(value, bytes):
        return digest_bytes(value)
    if _is_told_by_text(value):
        return str(value)
    if isinstance(value, re.Pattern):
        return f"{value.pattern!r} {value.flags}"
    if isinstance(value, BuiltinFunctionType):
        return f"{value.__module__}.{value.__qualname__}"
    try:
        return str(getattr(value, "__qualname__", kind.__qualname__))
    except Exception:  # of a `__getattr__` of its own
        return kind.__qualname__


def _is_told_by_text(value: Any) -> bool:
    kind = type(value)
    if package(kind) == "torch":
        return kind.__name__ in _TOLD_BY_NAME
    if package(kind) == "numpy":
        return hasattr(value, "newbyteorder")  # a type of numbers
    return kind in {complex, range, slice} or kind.__module__ in _TOLD_BY_TEXT


def _function(value: FunctionType, roots: Container[str], within: tuple[int, ...]) -> Any:
    """Tell a function: those of torch by their name, others by their text and what they keep."""
    if str(value.__module__).partition(".")[0] == "torch":
        return value.__qualname__
    try:
        text = digest_bytes(inspect.getsource(value.__code__).encode())
    except (OSError, TypeError):
        raise Bypass("no-source", f"{value.__qualname__} has no text that can be read") from None
    parts = [tell(item, roots, within) for item in _kept_by(value)]
    if value.__name__ == "<lambda>":  # there may be others in that text
        parts.append(_steps(value.__code__, roots, within))
    return [value.__qualname__, text, *parts]


def _steps(code: CodeType, roots: Container[str], within: tuple[int, ...]) -> list[Any]:
    inner = [one for one in code.co_consts if isinstance(one, CodeType)]
    plain = [tell(one, roots, within) for one in code.co_consts if not isinstance(one, CodeType)]
    steps = [digest_bytes(code.co_code), list(code.co_names), plain]
    return [*steps, *(_steps(one, roots, within) for one in inner)]


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
                try:
                    with sys.modules["torch"].no_grad():
                        made = getter(other)
                except Exception:  # the host's code: it may need more than there is
                    return False
                return arrays.is_array(made) and digest_array(made) == digest_array(value)
    return False


def _keeps(getter: FunctionType, name: str) -> bool:
    steps = dis.get_instructions(getter)
    return any(step.opname == "STORE_ATTR" and step.argval == name for step in steps)


def _mapping(value: Any, roots: Container[str]) -> Mapping[Any, Any] | None:
    """See a dict, a dataclass, a transformers configuration or an object as a mapping."""
    if isinstance(value, dict):
        return value
    if isinstance(value, type) or is_module(value):
        return None
    if callable(getattr(type(value), "to_dict", None)):  # a dataclass as well, but not only
        return {**value.to_dict(), "attention": getattr(value, "_attn_implementation", None)}
    inside = opened(value, roots)
    return {"": type(value).__qualname__, **inside} if isinstance(inside, dict) else None


def _is_settings(kind: type) -> bool:
    """Tell the class of a transformers configuration, or a dataclass."""
    return callable(getattr(kind, "to_dict", None)) or dataclasses.is_dataclass(kind)
