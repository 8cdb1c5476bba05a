"""TF32, and what compiling takes."""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING, Any

from stepaudio_cas.tuning.effects import EFFECTIVE, SKIPPED, effects

if TYPE_CHECKING:
    from collections.abc import Mapping

_AMPERE = (8, 0)


def allow_tf32(namespace: Mapping[str, Any], plan: Mapping[str, Any]) -> None:
    """Have products of float32 computed in TF32, as soon as torch is there.

    CUDA is not asked for here: a process that has asked must not fork.
    """
    del plan
    backends = namespace.get("backends")
    if namespace.get("__name__") != "torch" or not hasattr(backends, "cudnn"):
        return  # in part, or another module of that name
    backends.cuda.matmul.allow_tf32 = True
    backends.cudnn.allow_tf32 = True
    effects.everywhere("tf32", _tf32_in_force)


def _tf32_in_force() -> bool | None:
    """Say whether it is so: it needs a GPU that has it, and the host may have set it back."""
    torch = sys.modules["torch"]
    why = _lacks_tf32()
    if not why and not _allowed(torch.backends):
        why = "the host has set it back"
    effects.note("tf32", "", SKIPPED if why else EFFECTIVE, why)
    return None if why else True


def _allowed(backends: Any) -> bool:
    try:
        return bool(backends.cuda.matmul.allow_tf32)
    except RuntimeError:  # set by the newer names, the older ones raise
        return str(backends.cuda.matmul.fp32_precision) == "tf32"


@functools.cache
def _lacks_tf32() -> str:
    import torch  # noqa: PLC0415 - it is there

    if not torch.cuda.is_available():
        return "there is no CUDA device"
    if torch.version.hip or torch.cuda.get_device_capability() < _AMPERE:
        return f"{torch.cuda.get_device_name()} has no TF32"
    return ""


def trouble(word: str, plan: Mapping[str, Any]) -> str:
    """Say why TF32 cannot be in force here."""
    del word, plan
    return _lacks_tf32()


@functools.cache
def cannot_compile(device: str) -> str:
    """Say why torch.compile does not work for a device: found out by compiling a little."""
    import torch  # noqa: PLC0415 - the host's

    try:
        torch.compile(_little)(torch.ones(8, 8, device=device))
    except Exception as error:
        text = " ".join(str(error).split())
        return f"torch.compile does not work here: {type(error).__name__}: {text:.200}"
    return ""


def _little(numbers: Any) -> Any:
    return (numbers @ numbers).relu() + 1
