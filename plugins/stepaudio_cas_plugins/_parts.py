"""What several of the plugins need: where a session is from, and where results are put."""

from __future__ import annotations

import contextlib
import mmap
import os
import sys
from collections.abc import Mapping
from types import FunctionType
from typing import Any, Final

_LOCATION: Final = b"\n\x08location\x12"
"""What stands in an ONNX file before the name of one that has weights."""

_WITHIN: Final = 128 << 20
"""Bytes of an ONNX file whose weights may be elsewhere: without them it is small."""


def onnx_files(role: str, session: Any) -> dict[str, str]:
    """Return where a session was loaded from: a file, and those it has its weights in, if any.

    A model from bytes has no file to tell it by.
    """
    found = getattr(session, "_model_path", None)
    if not found:
        raise LookupError("an ONNX session without a model file")
    files = {role: str(found)}
    for name in _elsewhere(str(found)):
        full = os.path.join(os.path.dirname(str(found)), name)
        if os.path.isfile(full):
            files[f"{role}/{name}"] = full
    return files


def _elsewhere(path: str) -> set[str]:
    """Read the names of files with weights; an ONNX file says each before its length."""
    names: set[str] = set()
    with contextlib.suppress(OSError), open(path, "rb") as file:
        if not 0 < os.fstat(file.fileno()).st_size <= _WITHIN:
            return names
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            at = content.find(_LOCATION)
            while at >= 0:
                at += len(_LOCATION)
                [length] = content[at : at + 1] or b"\0"
                names.add(content[at + 1 : at + 1 + length].decode("utf-8", "replace"))
                at = content.find(_LOCATION, at)
    return names


def moved(kept: Any, device: Any) -> Any:
    """Move all tensors of a result to a device."""
    if isinstance(kept, (list, tuple)):
        return type(kept)(moved(part, device) for part in kept)
    if isinstance(kept, dict):
        return {name: moved(part, device) for name, part in kept.items()}
    return kept.to(device) if hasattr(kept, "to") else kept


def detached(result: Any) -> Any:
    """Leave out the record of how tensors were computed, which no store can keep."""
    if isinstance(result, (list, tuple)):
        return type(result)(detached(part) for part in result)
    if isinstance(result, dict):
        return {name: detached(part) for name, part in result.items()}
    return result.detach() if hasattr(result, "detach") else result


def device_of(network: Any) -> Any:
    """Return the device that a torch module is on."""
    return next(network.parameters()).device


def named(module: str, *names: str) -> list[Any]:
    """Return those functions of a loaded module that are there."""
    found = sys.modules.get(module)
    return [getattr(found, name) for name in names if hasattr(found, name)]


def beside(thing: Any, *names: str) -> list[Any]:
    """Return those functions that are in the modules of an object's class and of its bases."""
    modules = dict.fromkeys(kind.__module__ for kind in type(thing).__mro__)
    return [found for module in modules for found in named(module, *names)]


def by_text(function: Any) -> tuple[Any, dict[str, Any]]:
    """Return a function whose module's text tells it, and where it is in there.

    Raises `LookupError` for one that something else has a say in: what it has closed over, or what
    somebody has put around it. What torch puts around functions is in their text.
    """
    inner = function
    while hasattr(inner, "__wrapped__") and inner.__globals__["__name__"].startswith("torch."):
        inner = inner.__wrapped__
    name = getattr(inner, "__qualname__", type(inner).__qualname__)
    if not isinstance(inner, FunctionType) or hasattr(inner, "__wrapped__"):
        raise LookupError(f"{name} is not a function as it was written")
    if inner.__closure__ or inner.__name__ == "<lambda>":
        raise LookupError(f"{name} is a function that is made while the host runs")
    defaults = exactly([inner.__defaults__, inner.__kwdefaults__])
    return inner, {"line": inner.__code__.co_firstlineno, "defaults": defaults}


def exactly(settings: Any) -> Any:
    """Copy plain settings; raise `LookupError` where there is anything else."""
    if isinstance(settings, dict):
        return {str(name): exactly(value) for name, value in settings.items()}
    if isinstance(settings, (list, tuple)):
        return [exactly(value) for value in settings]
    if settings is None or isinstance(settings, (bool, int, float, str)):
        return settings
    raise LookupError(f"a setting that is a {type(settings).__qualname__}")


def told(settings: Any) -> Any:
    """Copy plain settings out of a mapping or an object; of the rest, only what it is."""
    if isinstance(settings, Mapping):
        return {str(name): told(value) for name, value in settings.items()}
    if isinstance(settings, (list, tuple)):
        return [told(value) for value in settings]
    if settings is None or isinstance(settings, (bool, int, float, str)):
        return settings
    return str(getattr(settings, "__qualname__", type(settings).__qualname__))
