"""Recordings that are handed over as open files: uploads, buffers in memory."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING, Any, Final

from blake3 import blake3

from stepaudio_cas.errors import Bypass
from stepaudio_cas.identity.recipe import BYTES, Input

if TYPE_CHECKING:
    from collections.abc import Iterable

_CHUNK: Final = 1 << 18
_USED: Final = ("read", "seek", "tell")


def is_stream(value: Any) -> bool:
    """Tell an open file, of whatever class, from anything else."""
    return all(callable(getattr(value, name, None)) for name in _USED)


def describe_stream(name: str, file: Any, params: dict[str, Any]) -> Input:
    """Digest an open file, as a closed one with this content, and leave it where it stands.

    Where it stands is told too, unless that is its beginning: a host may read on from there.
    """
    try:
        stands = file.tell()
        file.seek(0)
        try:
            digested, size = _digest(name, file)
        finally:
            file.seek(stands)
    except (OSError, ValueError) as error:  # a pipe; a file that is closed
        raise Bypass("unreadable-file", f"{name}: {error}") from None
    if stands:
        params[f"{name} stands at"] = stands
    return Input(BYTES, digested, {"bytes": size})


def _digest(name: str, file: Any) -> tuple[str, int]:
    hasher, size = blake3(), 0
    while True:
        chunk = file.read(_CHUNK)
        if not isinstance(chunk, (bytes, bytearray)):
            raise Bypass("unsupported-input", f"{name} is read as {type(chunk).__name__}")
        if not chunk:
            return hasher.hexdigest(), size
        hasher.update(chunk)
        size += len(chunk)


def leave_read(values: Iterable[Any]) -> None:
    """Put open files, in lists too, where the host's own reading leaves them: at their end."""
    for value in values:
        if type(value) in {list, tuple}:
            leave_read(value)
        elif is_stream(value):
            value.seek(0, os.SEEK_END)


def detached(value: Any) -> Any:
    """Copy an open file, so that it can be read later whatever the host does with it.

    What is none, or none of bytes that could be read twice, is no recording: it stays what it is.
    """
    if type(value) in {list, tuple}:
        return type(value)(map(detached, value))
    if not is_stream(value):
        return value
    try:
        stands = value.tell()
        value.seek(0)
        try:
            content = value.read()
        finally:
            value.seek(stands)
    except (OSError, ValueError):
        return value
    return io.BytesIO(content) if isinstance(content, (bytes, bytearray)) else value
