"""Torch modules that a method computes with, told by what they hold and how they are built.

Weights are digested from memory, not from a checkpoint: that is what runs, whichever file it came
from, with adapters merged and in the type it was cast to. A module is digested once; later calls
see that its tensors are still the same objects, unwritten, and that its attributes and the
functions of its classes are as they were. Torch counts what is written to a tensor, but not what
is written through `tensor.data`, NumPy or other memory that it shares: that is not seen.
"""

from __future__ import annotations

import inspect
import sys
import weakref
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from stepaudio_cas.activation.watched import Watched, attributes, is_tuned
from stepaudio_cas.errors import Bypass
from stepaudio_cas.identity.canonical import canonical
from stepaudio_cas.identity.digest import digest_array, digest_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

_HARMLESS: Final = ("torch.nn.utils", "transformers.utils")
"""Where hooks are from that compute a weight, or hand out what is asked for."""

_ON_ALL: Final = ("_global_forward_hooks", "_global_forward_pre_hooks")

_known: weakref.WeakKeyDictionary[Any, _Known] = weakref.WeakKeyDictionary()
_switched: weakref.WeakKeyDictionary[type, bool] = weakref.WeakKeyDictionary()


class _Held(NamedTuple):
    """A tensor of a module as it was when it was digested."""

    tensor: Callable[[], Any]
    state: tuple[Any, ...]
    digest: str


class _Known(NamedTuple):
    """A module as it was when it was described."""

    modules: Sequence[Callable[[], Any]]
    held: Sequence[_Held]
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
    """Return the classes that these modules are made of, but for those of torch itself."""
    found: dict[type, None] = {}
    for network in networks.values():
        for _, module in _tree(network):
            if not _of_torch(type(module)):
                found[type(module)] = None
    return list(found)


def devices(networks: Mapping[str, Any]) -> dict[str, str]:
    """Say on what kind of device each module is."""
    return {f"device.{role}": _device(_look(network)) for role, network in networks.items()}


def _look(network: Any) -> _Known:
    """Return what is known of a module, once more described if it is not what it was."""
    known = _known.get(network)
    modules, tensors = _walk(network)
    for module in modules:
        _check(module)
    if known is not None and _same(known, modules, tensors):
        return known
    made = _describe(network, known)
    _known[network] = made
    return made


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


def _walk(network: Any) -> tuple[list[Any], list[Any]]:
    """List the modules and tensors of a tree: what every call does, so without their names."""
    modules: dict[int, Any] = {}
    tensors: list[Any] = []
    ahead = [network]
    while ahead:
        module = ahead.pop()
        if id(module) in modules:
            continue
        modules[id(module)] = module
        below = module._modules  # noqa: SLF001 - what named_modules reads, in a tenth of the time
        if below:
            ahead.extend([child for child in below.values() if child is not None])
        for held in (module._parameters, module._buffers):  # noqa: SLF001
            if held:
                tensors.extend([tensor for tensor in held.values() if tensor is not None])
    return list(modules.values()), tensors


def _same(known: _Known, modules: list[Any], tensors: list[Any]) -> bool:
    return (
        _holds(known, modules)
        and len(known.held) == len(tensors)
        and all(
            held.tensor() is t and held.state == _state(t)
            for held, t in zip(known.held, tensors, strict=True)
        )
        and known.watched.same(modules)
    )


def _state(tensor: Any) -> tuple[Any, ...]:
    """Return what changes when a tensor is written to, cast, moved, or given other data."""
    try:
        version = tensor._version  # noqa: SLF001 - how torch itself finds writes
    except RuntimeError as error:
        raise Bypass("untracked-weights", str(error)) from None
    return version, tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride()


def _describe(network: Any, before: _Known | None) -> _Known:
    if not isinstance(network._modules, dict) or _is_scripted(network):  # noqa: SLF001
        raise Bypass("no-source", f"a {type(network).__qualname__} has no code that can be read")
    unchanged = {id(held.tensor()): held for held in (before.held if before else ())}
    held: list[_Held] = []
    contents: dict[str, str] = {}
    tree = list(_tree(network))
    modules = [module for _, module in tree]
    watched = Watched(modules)  # before it is told, as tensors are
    for name, module in tree:
        for part in (module._parameters, module._buffers):  # noqa: SLF001
            for own, tensor in part.items():
                if tensor is not None:
                    made = _hold(tensor, unchanged)
                    held.append(made)
                    contents[f"{name}.{own}"] = made.digest
    structure = [[name, type(module).__qualname__, attributes(module)] for name, module in tree]
    return _Known(
        [weakref.ref(module) for module in modules],
        held,
        watched,
        digest_bytes(canonical(contents)),
        digest_bytes(canonical(structure)),
    )


def _holds(known: _Known, modules: Sequence[Any]) -> bool:
    return len(known.modules) == len(modules) and all(
        ref() is module for ref, module in zip(known.modules, modules, strict=True)
    )


def _hold(tensor: Any, unchanged: Mapping[int, _Held]) -> _Held:
    state = _state(tensor)  # before it is read: what is written meanwhile is seen at the next call
    known = unchanged.get(id(tensor))
    if known is not None and known.tensor() is tensor and known.state == state:
        return known
    return _Held(weakref.ref(tensor), state, digest_array(tensor))


def _tree(network: Any) -> Iterator[tuple[str, Any]]:
    """Name the modules of a tree, in the order of `_walk`."""
    seen: set[int] = set()
    ahead = [("", network)]
    while ahead:
        name, module = ahead.pop()
        if id(module) in seen:
            continue
        seen.add(id(module))
        yield name, module
        below = module._modules.items()  # noqa: SLF001
        ahead.extend([(f"{name}.{own}", child) for own, child in below if child is not None])


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
        return module is None or "training" in inspect.getsource(module)
    except (OSError, TypeError):
        return True


def _of_torch(kind: type) -> bool:
    return kind.__module__.partition(".")[0] == "torch"


def _is_scripted(network: Any) -> bool:
    torch = sys.modules["torch"]
    return isinstance(network, torch.jit.ScriptModule)


def _device(known: _Known) -> str:
    for held in known.held:
        tensor = held.tensor()
        if tensor is not None:
            return str(tensor.device.type)
    return "cpu"


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
    if "_compiled_call_impl" in network.__dict__:
        told["compiled"] = True
    return told
