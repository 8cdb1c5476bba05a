"""What things have at one time, and whether they have it still: attributes, items, and theirs.

It is looked at in each call, for all things at once: one level of what they hold after the other,
by loops in C. Where all are the very same objects, nothing else need be compared. Nothing that is
kept here keeps a module or a weight alive.
"""

from __future__ import annotations

import weakref
from itertools import chain, compress
from operator import is_, itemgetter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from stepaudio_cas import arrays
from stepaudio_cas.activation.tensors import hold_storage, states
from stepaudio_cas.activation.told import NOT_COUNTED, is_opaque, is_scalar
from stepaudio_cas.errors import Bypass
from stepaudio_cas.identity.digest import digest_array

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Mapping, Sequence

_SMALL: Final = 1 << 20
_DEPTH: Final = 12
_LONG: Final = 64


class Kept:
    """What some mappings hold, and what is in that; of the rest, which things they are."""

    def __init__(
        self,
        maps: Sequence[Mapping[str, Any]],
        ever: Container[str],
        opened: Callable[[Any], Any],
    ) -> None:
        """Look at all names but those that are there `ever`, and into things as `opened`."""
        self._opened = opened
        self._sizes = list(map(len, maps))
        names = [[name for name in some if name not in ever] for some in maps]
        self._are_seen = list(map(bool, names))
        self._get = [itemgetter(some[0], *some) for some in names if some]
        self._levels: list[_Level] = []
        met: dict[int, int] = {}
        inside = _Inside((), [self._values(maps)])
        labels = [name for some in names if some for name in (some[0], *some)]
        while inside.maps or inside.sequences:
            if len(self._levels) > _DEPTH:
                raise Bypass("untold-model", "what it is made of is nested too deeply")
            values = inside.values()
            self._levels.append(_Level(inside, labels, values, opened, met))
            inside = self._levels[-1].inside(values, opened)
            labels = inside.names()

    def same(self, maps: Sequence[Mapping[str, Any]]) -> bool:
        """Tell whether these mappings, which stand for those of then, hold the same."""
        if list(map(len, maps)) != self._sizes:
            return False
        try:
            inside = _Inside((), [self._values(maps)])
        except KeyError:
            return False
        found: list[Any] = []
        for level in self._levels:
            values = inside.values()
            if not level.same(inside, values, found):
                return False
            inside = level.inside(values, self._opened)
        return True

    def _values(self, maps: Sequence[Mapping[str, Any]]) -> list[Any]:
        seen = zip(self._get, compress(maps, self._are_seen), strict=True)
        return [value for get, some in seen for value in get(some)]


class _Inside(NamedTuple):
    """What is on one level: mappings, then sequences."""

    maps: Sequence[Mapping[Any, Any]]
    sequences: Sequence[Sequence[Any]]

    def names(self) -> list[Any]:
        return list(chain.from_iterable(self.maps))

    def sizes(self) -> list[int]:
        return [*map(len, self.maps), *map(len, self.sequences)]

    def values(self) -> list[Any]:
        return list(chain(*[some.values() for some in self.maps], *self.sequences))


class _Level:
    """What was on one level: each thing in one place, and where it was met before in the others."""

    def __init__(
        self,
        inside: _Inside,
        labels: Sequence[Any],
        values: Sequence[Any],
        opened: Callable[[Any], Any],
        met: dict[int, int],
    ) -> None:
        self._names, self._sizes = inside.names(), inside.sizes()
        self._are_plain = [False] * len(values)
        self._others: list[int] = []
        self._open: list[int] = []
        flat: list[int] = []
        self._again: list[tuple[int, int]] = []
        for at, value in enumerate(values):
            if at < len(labels) and labels[at] in NOT_COUNTED:
                continue
            if is_scalar(value):
                self._are_plain[at] = True
            elif _is_flat(value):
                flat.append(at)
            elif id(value) in met:
                self._again.append((at, met[id(value)]))
            elif arrays.is_array(value) or opened(value) is None:
                self._others.append(at)
            else:
                met[id(value)] = len(met)
                self._open.append(at)
        self._plain = list(compress(values, self._are_plain))  # while held, no other has their ids
        self._flat = [(at, _Flat(values[at])) for at in flat]
        self._refs = [_reference(values[at]) for at in self._others]
        self._other_kinds = [type(values[at]) for at in self._others]
        self._kinds = [type(values[at]) for at in self._open]
        self._arrays = _Arrays(values, self._others)

    def same(self, inside: _Inside, values: Sequence[Any], found: list[Any]) -> bool:
        """Tell whether that is what there is now; add to what is found the things to look into."""
        if inside.sizes() != self._sizes or inside.names() != self._names:
            return False
        plain = list(compress(values, self._are_plain))
        if not all(map(is_, plain, self._plain)):
            if not all(map(_alike, plain, self._plain)):
                return False
            self._plain = plain
        opened_now = [values[at] for at in self._open]
        found += opened_now
        return (
            self._are_others(values)
            and list(map(type, opened_now)) == self._kinds
            and all(values[at] is found[number] for at, number in self._again)
            and all(then.same(values[at]) for at, then in self._flat)
            and self._arrays.same(values)
        )

    def _are_others(self, values: Sequence[Any]) -> bool:
        others, known = [values[at] for at in self._others], [ref() for ref in self._refs]
        if all(map(is_, others, known)):
            return True
        for other, before, kind in zip(others, known, self._other_kinds, strict=True):
            if other is not before and type(other) is kind and is_opaque(other):
                raise Bypass("changed-host", f"a {kind.__qualname__} was replaced by another one")
        return False

    def inside(self, values: Sequence[Any], opened: Callable[[Any], Any]) -> _Inside:
        """Return what these values are to be looked into as."""
        found = [opened(values[at]) for at in self._open]
        parts: list[Any] = [() if part is None else part for part in found]
        are_maps = [isinstance(part, dict) for part in parts]
        others = compress(parts, [not is_map for is_map in are_maps])
        return _Inside(list(compress(parts, are_maps)), list(others))


def _is_flat(value: Any) -> bool:
    """Tell a long list or dict of scalars, such as a vocabulary: it has nothing to look into."""
    kind = type(value)
    if kind not in (list, dict) or len(value) < _LONG:
        return False
    return all(map(is_scalar, value.values() if kind is dict else value))


class _Flat:
    """What was in a long list or dict of scalars."""

    def __init__(self, value: Any) -> None:
        self._kind = type(value)
        self._names = list(value) if self._kind is dict else None
        self._items = list(value.values() if self._kind is dict else value)
        self._are_words = set(map(type, self._items)) == {str}  # equal ones are the same, and fast

    def same(self, value: Any) -> bool:
        """Tell whether these very items are there still."""
        if type(value) is not self._kind or len(value) != len(self._items):
            return False
        now = list(value.values()) if self._kind is dict else value
        alike = now == self._items if self._are_words else all(map(is_, now, self._items))
        return alike and (self._names is None or list(value) == self._names)


class _Arrays:
    """Arrays told by what counts their writes or, where nothing does, by their content."""

    def __init__(self, values: Sequence[Any], places: Sequence[int]) -> None:
        found = [at for at in places if arrays.is_array(values[at])]
        self._counted = [at for at in found if _counts_writes(values[at])]
        self._read = [at for at in found if at not in self._counted]
        counted = [values[at] for at in self._counted]
        self._states = states(counted)
        self._storages = [hold_storage(tensor) for tensor in counted]
        if any(_size(values[at]) > _SMALL for at in self._read):
            raise Bypass("untracked-weights", "a large array does not count what is written to it")
        self._digests = [digest_array(values[at]) for at in self._read]

    def same(self, values: Sequence[Any]) -> bool:
        return (
            states([values[at] for at in self._counted]) == self._states
            and [digest_array(values[at]) for at in self._read] == self._digests
        )


def _size(value: Any) -> int:
    try:
        return int(value.nbytes)
    except RuntimeError as error:  # a sparse one
        raise Bypass("unsupported-tensor", str(error)) from None


def _counts_writes(value: Any) -> bool:
    if not hasattr(value, "data_ptr"):
        return False
    try:
        return bool(states([value]))
    except Bypass:  # made in inference mode
        return False


def _alike(one: Any, other: Any) -> bool:
    """Tell whether scalars are the same in type too, and of numbers that are none."""
    return one is other or (type(one) is type(other) and repr(one) == repr(other))


def _reference(thing: Any) -> Callable[[], Any]:
    try:
        return weakref.ref(thing)
    except TypeError:  # without weak references: such things hold no modules
        return lambda: thing
