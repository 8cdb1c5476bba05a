"""Which digests there are, in eight bytes each, so that a million fit in memory.

64 bits of a digest are enough: two that agree in them make one orphan too few, never one too many.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

DAMAGED: Final = -1
_NOT_THERE: Final = -2


class References:
    """Digests that somebody refers to: first they are all added, then asked for."""

    def __init__(self) -> None:
        self._numbers = array("Q")
        self._sorted = True

    def add(self, digests: Iterable[str]) -> None:
        """Note some."""
        self._numbers.extend(map(_short, digests))
        self._sorted = False

    def __len__(self) -> int:
        return len(self._numbers)

    def __contains__(self, digest: str) -> bool:
        if not self._sorted:
            self._numbers = array("Q", sorted(self._numbers))
            self._sorted = True
        return _find(self._numbers, _short(digest)) is not None


class Sizes:
    """The sizes of a shard's objects: `DAMAGED` for one that is, None for one that is not there."""

    def __init__(self, digests: Iterable[str]) -> None:
        self._numbers = array("Q", sorted(map(_short, digests)))
        self._sizes = array("q", [_NOT_THERE]) * len(self._numbers)

    def __setitem__(self, digest: str, size: int | None) -> None:
        at = _find(self._numbers, _short(digest))
        assert at is not None
        self._sizes[at] = _NOT_THERE if size is None else size

    def __getitem__(self, digest: str) -> int | None:
        at = _find(self._numbers, _short(digest))
        size = _NOT_THERE if at is None else self._sizes[at]
        return None if size == _NOT_THERE else size


def _short(digest: str) -> int:
    return int(digest[:16], 16)


def _find(numbers: array[int], number: int) -> int | None:
    at = bisect_left(numbers, number)
    return at if at < len(numbers) and numbers[at] == number else None
