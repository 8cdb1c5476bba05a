"""Which keys are asked for most: a table of bounded size, however many keys there are.

Numbers of hits are lower bounds, by Misra and Gries: when the table overflows, every key in it
loses as many hits as the first one that does not fit. `short` says how many hits at most any key
may lack, listed or not; with few keys it is 0, and everything is exact.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from stepaudio_cas.identity.digest import is_digest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stepaudio_cas.identity.recipe import Recipe

LISTED: Final = 100
"""How many keys a document lists."""

_KEPT: Final = 1000
_LONGEST_NAME: Final = 200
_NOISE: Final = 1e-6


class Heat(NamedTuple):
    """How often a key was hit, what that saved, and the file name its recording had."""

    hits: float
    seconds: float
    name: str = ""


class Hottest(NamedTuple):
    """The keys with the most hits. Nothing in it is changed in place."""

    keys: Mapping[str, Heat] = {}
    short: float = 0.0

    def plus(self, other: Hottest) -> Hottest:
        """Add up two tables; nothing is lost."""
        keys = dict(self.keys)
        for key, heat in other.keys.items():
            mine = keys.get(key)
            keys[key] = heat if mine is None else _added(mine, heat)
        return Hottest(keys, self.short + other.short)

    def minus(self, other: Hottest) -> Hottest:
        """Take away what another table has listed; what then has no hits is left out."""
        keys = {}
        for key, heat in self.keys.items():
            theirs = other.keys.get(key, Heat(0, 0))
            hits = heat.hits - theirs.hits
            if hits > _NOISE:
                keys[key] = Heat(hits, max(heat.seconds - theirs.seconds, 0.0), heat.name)
        return Hottest(keys, self.short)

    def peak(self, other: Hottest) -> Hottest:
        """Take the larger numbers of two tables."""
        keys = dict(self.keys)
        for key, heat in other.keys.items():
            mine = keys.get(key, heat)
            keys[key] = Heat(
                max(mine.hits, heat.hits), max(mine.seconds, heat.seconds), mine.name or heat.name
            )
        return Hottest(keys, max(self.short, other.short))

    def only(self, keys: Mapping[str, Any]) -> Hottest:
        """Leave out all keys but these."""
        return Hottest({key: heat for key, heat in self.keys.items() if key in keys}, self.short)

    def top(self, number: int = LISTED) -> Hottest:
        """Keep the first `number` keys by hits."""
        if len(self.keys) <= number:
            return self
        ranked = sorted(self.keys.items(), key=_rank)
        return Hottest(dict(ranked[:number]), self.short + ranked[number][1].hits)

    def dump(self) -> dict[str, Any]:
        """Say it for JSON."""
        top = self.top()
        keys = [
            {"key": key, "hits": heat.hits, "seconds": heat.seconds, "name": heat.name}
            for key, heat in sorted(top.keys.items(), key=_rank)
        ]
        return {"keys": keys, "short": top.short}


def load_hottest(document: Any) -> Hottest:
    """Read what `dump` wrote. Raises `ValueError`, `KeyError` or `TypeError` if it is not that."""
    if document is None:
        return Hottest()
    keys = {}
    for item in document["keys"]:
        key, numbers = item["key"], (float(item["hits"]), float(item["seconds"]))
        if not is_digest(key) or not all(map(math.isfinite, numbers)):
            raise ValueError(f"{item} is not about a key")
        keys[key] = Heat(*numbers, str(item["name"])[:_LONGEST_NAME])
    return Hottest(keys, float(document["short"])).top()


class Heating:
    """The table of a process that runs: a few dictionary look-ups for each hit."""

    def __init__(self) -> None:
        self._lines: dict[str, list[Any]] = {}
        self._short = 0.0

    def hit(self, recipe: Recipe, saved: float) -> None:
        """Count a hit; whoever calls holds a lock."""
        line = self._lines.get(recipe.key)
        if line is None:
            if len(self._lines) >= 2 * _KEPT:
                self._shrink()
            self._lines[recipe.key] = [1, saved, _name_in(recipe)]
        else:
            line[0] += 1
            line[1] += saved

    def _shrink(self) -> None:
        """Make room for as many keys again as are kept."""
        ranked = sorted(self._lines.items(), key=lambda item: -item[1][0])
        cut = ranked[_KEPT][1][0]
        self._short += cut
        self._lines = {
            key: [hits - cut, saved * (hits - cut) / hits, name]
            for key, (hits, saved, name) in ranked[:_KEPT]
            if hits > cut
        }

    def table(self) -> Hottest:
        """Return what has been counted."""
        return Hottest({key: Heat(*line) for key, line in self._lines.items()}, self._short)


def _added(one: Heat, other: Heat) -> Heat:
    return Heat(one.hits + other.hits, one.seconds + other.seconds, one.name or other.name)


def _rank(item: tuple[str, Heat]) -> tuple[float, str]:
    return -item[1].hits, item[0]


def _name_in(recipe: Recipe) -> str:
    """Return the file name of the first recording that has one."""
    for found in recipe.inputs.values():
        name = found.facts.get("name")
        if name:
            return str(name)[:_LONGEST_NAME]
    return ""
