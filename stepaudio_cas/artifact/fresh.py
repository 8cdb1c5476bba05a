"""Ready values in memory: handed out as copies, so that callers own what they get."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from stepaudio_cas import arrays

if TYPE_CHECKING:
    from collections.abc import Callable

_ITEM_BYTES: Final = 36
"""A small int object and the pointer to it; an estimate that bounds, not an account."""


class Ready:
    """A value that only this object holds. `fresh()` returns a copy that shares nothing mutable.

    How to copy is worked out once, when the value comes in, so that a hit does no inspection.
    """

    __slots__ = ("fresh", "seconds", "size")

    def __init__(self, value: Any, seconds: float, *, owned: bool) -> None:
        """Take `value`; unless it is `owned` (nobody else has it), take a copy of it."""
        copier, self.size = _plan(value)
        if not owned:
            copier, self.size = _plan(copier())
        self.fresh = copier
        self.seconds = seconds

    @classmethod
    def of_tokens(cls, value: tuple[list[int], ...], seconds: float) -> Ready:
        """Take what the `tokens/1` codec has just decoded: what it is made of is known."""
        ready = cls.__new__(cls)
        ready.fresh = lambda: tuple([part.copy() for part in value])
        ready.size = 200 + sum([56 + _ITEM_BYTES * len(part) for part in value])
        ready.seconds = seconds
        return ready


def _plan(value: Any) -> tuple[Callable[[], Any], int]:
    """Return how to copy `value` and about how many bytes it takes."""
    kind = type(value)
    if kind is list:
        return _plan_list(value)
    if kind is tuple:
        copiers, size = _plan_items(value)
        return (lambda: tuple([copy() for copy in copiers])), size
    if kind is dict:
        copiers, size = _plan_items(value.values())
        keys = list(value)
        return (lambda: {key: copy() for key, copy in zip(keys, copiers, strict=True)}), size
    if kind is set:  # of an argument that is kept for a second computation
        return value.copy, 200 + _ITEM_BYTES * len(value)
    if arrays.is_array(value):
        return (lambda: arrays.fresh_copy(value)), int(value.nbytes) + 200
    return (lambda: value), _scalar_size(value)


def _plan_list(value: list[Any]) -> tuple[Callable[[], Any], int]:
    kinds = set(map(type, value))
    if kinds <= {int, float, bool, type(None)}:
        return value.copy, 56 + _ITEM_BYTES * len(value)
    if kinds <= {str, bytes}:
        return value.copy, 56 + sum(map(_scalar_size, value))
    copiers, size = _plan_items(value)
    return (lambda: [copy() for copy in copiers]), size


def _plan_items(items: Any) -> tuple[list[Callable[[], Any]], int]:
    plans = [_plan(item) for item in items]
    return [copier for copier, _ in plans], 120 + sum(size + 8 for _, size in plans)


def _scalar_size(value: Any) -> int:
    return 60 + len(value) if isinstance(value, (str, bytes)) else _ITEM_BYTES
