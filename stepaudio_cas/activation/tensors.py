"""The parts and tensors of torch modules, and whether they are still what they were.

It is looked at in each call, for all modules at once: what can be done by loops in C is. Nothing
that is kept here keeps a module or a weight alive.
"""

from __future__ import annotations

import sys
import weakref
from itertools import chain, repeat
from operator import attrgetter, is_, is_not, itemgetter, methodcaller
from typing import TYPE_CHECKING, Any, Final

from stepaudio_cas.errors import Bypass
from stepaudio_cas.identity.digest import digest_array

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_PARTS: Final = itemgetter("_parameters", "_buffers", "_modules")
_VALUES: Final = methodcaller("values")
_SHAPE: Final = attrgetter("shape")


class Tensors:
    """What modules hold under which names: tensors, and each other."""

    def __init__(self, owns: Sequence[Mapping[str, Any]], before: Tensors | None) -> None:
        """Take all that modules with these attributes hold; digest what is not as it was before."""
        parts = list(chain.from_iterable(map(_PARTS, owns)))
        self._names = list(chain.from_iterable(parts))
        self._lengths = list(map(len, parts))
        held = list(chain.from_iterable(map(_VALUES, filter(None, parts))))
        where = [n % 3 != 2 for n, part in enumerate(parts) for _ in part]  # not in `_modules`
        self._at = [n for n, thing in enumerate(held) if where[n] and thing is not None]
        self._refs = [_nothing if thing is None else weakref.ref(thing) for thing in held]
        tensors = [held[n] for n in self._at]
        self._states = states(tensors)  # first: what is written meanwhile is seen at the next call
        self._storages = [hold_storage(tensor) for tensor in tensors]
        known = before.digests() if before else {}
        self._digests = [
            known.get((id(tensor), *state)) or digest_array(tensor)
            for tensor, *state in zip(tensors, *self._states, strict=True)
        ]

    def same(self, owns: Sequence[Mapping[str, Any]]) -> bool:
        """Tell whether modules that have these attributes hold the same as then, unwritten."""
        parts = list(chain.from_iterable(map(_PARTS, owns)))
        if list(map(len, parts)) != self._lengths:
            return False
        parts = list(filter(None, parts))
        held = list(chain.from_iterable(map(_VALUES, parts)))
        tensors = [held[n] for n in self._at]
        return (
            all(map(is_, held, [ref() for ref in self._refs]))
            and list(chain.from_iterable(parts)) == self._names
            and all(map(is_not, tensors, repeat(None)))  # some may be gone
            and states(tensors) == self._states
        )

    def contents(self, names: Sequence[str]) -> dict[str, str]:
        """Return the digests of the tensors by the names of their modules, and their own."""
        of = [name for n, length in enumerate(self._lengths) for name in [names[n // 3]] * length]
        return {
            f"{of[n]}.{self._names[n]}": digest
            for n, digest in zip(self._at, self._digests, strict=True)
        }

    def digests(self) -> dict[tuple[Any, ...], str]:
        """Return the digests of those tensors that there still are, by what they were like."""
        tensors = [self._refs[n]() for n in self._at]
        return {
            (id(tensor), *state): digest
            for tensor, digest, *state in zip(tensors, self._digests, *self._states, strict=True)
            if tensor is not None
        }

    def first(self) -> Any:
        """Return one of the tensors, if there is any."""
        return next((self._refs[n]() for n in self._at), None)


def _nothing() -> None:
    return None


def states(tensors: Sequence[Any]) -> list[list[Any]]:
    """Return what changes when tensors are written to, cast, moved, or given other data."""
    try:
        return [
            [tensor._version for tensor in tensors],  # noqa: SLF001 - how torch finds writes
            [tensor.untyped_storage()._cdata for tensor in tensors],  # noqa: SLF001
            [tensor.data_ptr() for tensor in tensors],
            [tensor.dtype for tensor in tensors],
            list(map(_SHAPE, tensors)),
            [tensor.stride() for tensor in tensors],
        ]
    except RuntimeError as error:
        raise Bypass("untracked-weights", str(error)) from None


def hold_storage(tensor: Any) -> Any:
    """Keep the address of a tensor's memory from becoming that of another, not the memory."""
    kind = sys.modules["torch.multiprocessing.reductions"].StorageWeakRef
    return kind(tensor.untyped_storage())
