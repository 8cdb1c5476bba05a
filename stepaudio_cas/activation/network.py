"""Torch modules that a method computes with, told by what they hold and how they are built.

Weights are digested from memory, not from a checkpoint: that is what runs, whichever file it came
from, with adapters merged and in the type it was cast to. A module is digested once; later calls
see that its tensors are still the same objects, unwritten, and that its attributes and the
functions of its classes are as they were. Torch counts what is written to a tensor, but not what
is written through `tensor.data`, NumPy or other memory that it shares: that is not seen.
"""

from __future__ import annotations

import contextlib
import inspect
import re
import sys
import weakref
from functools import partial
from itertools import repeat
from operator import is_, is_not
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from stepaudio_cas.activation.tensors import Tensors
from stepaudio_cas.activation.told import (
    attributes,
    counts,
    is_module,
    is_tuned,
    modules_in,
    of_class,
    package,
    tell,
)
from stepaudio_cas.activation.watched import Watched
from stepaudio_cas.errors import Bypass
from stepaudio_cas.identity.canonical import canonical
from stepaudio_cas.identity.digest import digest_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

_HARMLESS: Final = ("torch.nn.utils", "transformers.utils")
"""Where hooks are from that compute a weight, or hand out what is asked for."""

_ON_ALL: Final = ("_global_forward_hooks", "_global_forward_pre_hooks")

_TRAINING: Final = re.compile(r"""\.training\b|["']training["']""")
_OF_PYTHON: Final = sys.stdlib_module_names - {"__main__"}

_known: dict[int, tuple[Callable[[], Any], _Known]] = {}
"""By identity, because objects may be equal, and may have no hash."""
_switched: weakref.WeakKeyDictionary[type, bool] = weakref.WeakKeyDictionary()


class _Known(NamedTuple):
    """A module as it was when it was described."""

    modules: Sequence[Callable[[], Any]]
    tensors: Tensors
    watched: Watched
    contents: str
    structure: str


def describe(networks: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings that tell these modules, as they are right now.

    Raises `Bypass` for a module in training mode, if its code asks for that, and for tensors that
    have no exact description (quantised, sharded) or do not count what is written to them.
    """
    told: dict[str, Any] = {}
    everywhere = vars(sys.modules["torch"].nn.modules.module) if networks else {}
    if any(map(everywhere.get, _ON_ALL)):
        raise Bypass("hooks", "there are hooks on all modules")
    for role, network in networks.items():
        known = _look(network)
        told[role] = {"contents": known.contents, "structure": known.structure}
        told[role].update(_context(network, known))
    return told


def kinds(networks: Mapping[str, Any]) -> list[type]:
    """Return the classes that these modules and their helpers are of, but for those of torch."""
    found: dict[type, None] = {}
    for network in networks.values():
        tree, _, helpers = _tree(network)
        found.update(dict.fromkeys(type(module) for _, module in tree))
        found.update(helpers)
    return [kind for kind in found if not _of_torch(kind)]


def devices(networks: Mapping[str, Any]) -> dict[str, str]:
    """Say on what kind of device each module is."""
    return {f"device.{role}": _device(_look(network)) for role, network in networks.items()}


def _look(network: Any) -> _Known:
    """Return what is known of a module, once more described if it is not what it was."""
    number = id(network)
    who, known = _known.get(number, (None, None))
    if who is None or who() is not network:
        known = None
    if known is not None and _same(network, known):
        return known
    made = _describe(network, known)
    with contextlib.suppress(TypeError):  # what cannot be referred to is described each time
        _known[number] = weakref.ref(network, partial(_forget, _known, number)), made
    return made


def _forget(known: dict[int, Any], number: int, _: Any) -> None:
    known.pop(number, None)


def _same(network: Any, known: _Known) -> bool:
    """Tell whether nothing has changed: what every call does, so not one module at a time."""
    modules = [module() for module in known.modules]
    if not all(map(is_not, modules, repeat(None))):
        return False
    owns = [module.__dict__ for module in modules]
    for module, own in zip(modules, owns, strict=True):
        if own["training"] or own["_forward_hooks"] or own["_forward_pre_hooks"]:
            _check(module)
    return known.tensors.same(owns) and known.watched.same(network, modules, owns)


def _check(module: Any) -> None:
    """Raise `Bypass` for a module whose result its weights, settings and class do not decide."""
    own = module.__dict__
    if own["training"] and _asks_training(type(module)):
        raise Bypass("training-mode", f"{type(module).__qualname__} is in training mode")
    if "forward" in own and not is_tuned(module, "forward"):
        raise Bypass("hooks", f"the forward of one {type(module).__qualname__} was replaced")
    for hooks in (own["_forward_hooks"], own["_forward_pre_hooks"]):
        for hook in hooks.values() if hooks else ():
            place = str(getattr(hook, "__module__", type(hook).__module__))
            if not place.startswith(_HARMLESS):
                raise Bypass("hooks", f"{type(module).__qualname__} has a hook from {place}")


def _describe(network: Any, before: _Known | None) -> _Known:
    tree, roots, helpers = _tree(network)
    modules = [module for _, module in tree]
    for module in modules:
        _check(module)
    watched = Watched(network, modules, roots, helpers)  # before it is told, as tensors are
    tensors = Tensors([module.__dict__ for module in modules], _unmerged(before, modules))
    structure = [
        [name, type(module).__qualname__, attributes(module, roots)] for name, module in tree
    ]
    if not is_module(network):
        structure.append(["", type(network).__qualname__, tell(network, roots)])
    bases = _bases([*map(type, (network, *modules)), *helpers])
    classes = [[kind.__qualname__, of_class(kind, roots)] for kind in bases]
    return _Known(
        [weakref.ref(module) for module in modules],
        tensors,
        watched,
        digest_bytes(canonical(tensors.contents([name for name, _ in tree]))),
        digest_bytes(canonical([structure, classes])),
    )


def _unmerged(before: _Known | None, modules: Sequence[Any]) -> Tensors | None:
    """Return the tensors of before if the parts are the same ones.

    Where some came or went, adapters may have been merged into the rest, which torch cannot count.
    """
    then = [module() for module in before.modules] if before else []
    same = len(then) == len(modules) and all(map(is_, then, modules))
    return before.tensors if before and same else None


def _tree(network: Any) -> tuple[list[tuple[str, Any]], set[str], dict[type, None]]:
    """Return the modules of a tree by name, their packages, and the classes of their helpers."""
    roots: set[str] = _packages([network])
    while True:
        known, helpers = len(roots), dict[type, None]()
        tree = list(_modules(network, roots, helpers))
        if len(roots) == known:  # else there may be more in what was passed by
            return tree, roots, helpers


def _modules(network: Any, roots: set[str], helpers: dict[type, None]) -> Iterator[tuple[str, Any]]:
    """Name the modules of a tree, also those that torch does not know to be parts of others.

    The packages that they are from are added to the roots.
    """
    seen: set[int] = set()
    ahead = list(modules_in("", network, roots, helpers))
    while ahead:
        name, module = ahead.pop()
        if id(module) in seen:
            continue
        seen.add(id(module))
        if _is_scripted(module) or "training" not in vars(module):
            raise Bypass("no-source", f"a {type(module).__qualname__} has no code to be read")
        yield name, module
        roots |= _packages([module])
        for own, child in module._modules.items():  # noqa: SLF001
            if child is not None:
                ahead.append((f"{name}.{own}", child))
        for own, value in vars(module).items():
            if counts(own):
                ahead.extend(modules_in(f"{name}.{own}", value, roots, helpers))


def _bases(classes: Iterable[type]) -> list[type]:
    """Return these classes, and those they inherit from, but torch's."""
    kinds = dict.fromkeys(base for kind in classes for base in kind.__mro__)
    return [kind for kind in kinds if kind is not object and not _of_torch(kind)]


def _packages(modules: Sequence[Any]) -> set[str]:
    """Return the packages that these modules are from: of those, objects are looked into."""
    return {package(kind) for kind in _bases(map(type, modules))} - _OF_PYTHON


def _asks_training(kind: type) -> bool:
    """Tell whether a class's code can behave otherwise in training: it then says that word."""
    known = _switched.get(kind)
    if known is None:
        known = _switched[kind] = any(
            _mentions_training(part)
            for part in kind.__mro__
            if part.__module__ != "torch.nn.modules.module" and part is not object
        )
    return known


def _mentions_training(kind: type) -> bool:
    if _of_torch(kind):
        codes = [getattr(part, "__code__", None) for part in vars(kind).values()]
        return any(code is not None and "training" in code.co_names for code in codes)
    module = sys.modules.get(kind.__module__)
    try:
        return module is None or _TRAINING.search(inspect.getsource(module)) is not None
    except (OSError, TypeError):
        return True


def _of_torch(kind: type) -> bool:
    return package(kind) == "torch"


def _is_scripted(network: Any) -> bool:
    torch = sys.modules["torch"]
    return isinstance(network, torch.jit.ScriptModule)


def _device(known: _Known) -> str:
    tensor = known.tensors.first()
    return "cpu" if tensor is None else str(tensor.device.type)


def _context(network: Any, known: _Known) -> dict[str, Any]:
    """Say how else it is computed than as it is written: in another type, compiled."""
    told: dict[str, Any] = {}
    torch, device = sys.modules["torch"], _device(known)
    try:
        on, kind = torch.is_autocast_enabled(device), torch.get_autocast_dtype
    except (TypeError, RuntimeError):  # older than 2.4, or a device that has none
        on, kind = torch.is_autocast_enabled(), lambda _: torch.get_autocast_gpu_dtype()
    if on:
        told["autocast"] = str(kind(device))
    if "_compiled_call_impl" in getattr(network, "__dict__", ()):
        told["compiled"] = True
    if torch.get_default_dtype() is not torch.float32:
        told["default"] = str(torch.get_default_dtype())
    return told
