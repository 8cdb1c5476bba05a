"""BLAKE3-256 of bytes and of arrays, as 64 hex digits."""

from __future__ import annotations

import re
from typing import Any, Final

from blake3 import blake3

from stepaudio_cas import arrays

HEX_LENGTH: Final = 64
_HEX: Final = re.compile(r"[0-9a-f]{64}").fullmatch


def digest_bytes(data: Any) -> str:
    """Digest any contiguous buffer."""
    return blake3(data).hexdigest()


def digest_array(value: Any) -> str:
    """Digest an array or tensor: library, dtype, shape and content; not its device or strides.

    No copy is made where the memory is contiguous on the CPU, and the interpreter lock is
    released while the content is read.
    """
    data, trailer = arrays.content(value)
    # The trailer follows the content, because content that starts at a chunk boundary is faster.
    return blake3(data).update(trailer).hexdigest()


def is_digest(text: object) -> bool:
    """Tell whether `text` has the form of a digest, so that it can be part of a path."""
    return isinstance(text, str) and _HEX(text) is not None
