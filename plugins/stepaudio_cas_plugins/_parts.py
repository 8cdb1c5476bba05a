"""What several of the plugins need: where a session is from, and where results are put."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any


def onnx_file(session: Any) -> str:
    """Return where a session was loaded from; a model from bytes has no file to tell it by."""
    found = getattr(session, "_model_path", None)
    if not found:
        raise LookupError("an ONNX session without a model file")
    return str(found)


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


def told(settings: Any) -> Any:
    """Copy plain settings out of a mapping or an object; of the rest, only what it is."""
    if isinstance(settings, Mapping):
        return {str(name): told(value) for name, value in settings.items()}
    if isinstance(settings, (list, tuple)):
        return [told(value) for value in settings]
    if settings is None or isinstance(settings, (bool, int, float, str)):
        return settings
    return str(getattr(settings, "__qualname__", type(settings).__qualname__))
