"""Many recipes at once: look everything up, compute what is missing in one call."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from stepaudio_cas.errors import Bypass
from stepaudio_cas.runtime.call import Call, Once
from stepaudio_cas.runtime.chain import Hit
from stepaudio_cas.runtime.interrupts import reraise_interrupt
from stepaudio_cas.runtime.turns import PATIENCE, Turn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from stepaudio_cas.artifact.fresh import Ready
    from stepaudio_cas.identity.recipe import Recipe
    from stepaudio_cas.runtime.cache import Cache
    from stepaudio_cas.runtime.flights import Flight
    from stepaudio_cas.runtime.tier import Tier
    from stepaudio_cas.store.backend import Lock


class Batch:
    """One batch on its way. `results` fills up by position.

    Nothing is waited for while we hold a lock, and no flight while we lead one, so two batches
    that overlap cannot block each other.
    """

    def __init__(
        self,
        cache: Cache,
        recipes: Sequence[Recipe],
        compute: Callable[[list[int]], Sequence[Any]],
        *,
        plugin: str,
        deterministic: bool,
        restore: Callable[[Any], Any] | None,
        keep: Callable[[Any], bool] | None = None,
        pack: Callable[[Any], Any] | None = None,
    ) -> None:
        self._cache = cache
        self._compute = compute
        self._host_error: BaseException | None = None
        self.results: dict[int, Any] = {}
        self._positions: dict[str, list[int]] = {}
        started = time.perf_counter()
        for position, recipe in enumerate(recipes):
            self._positions.setdefault(recipe.key, []).append(position)
        self._calls = {
            key: Call(
                recipes[at[0]], Once(_nothing), plugin, deterministic,
                restore=restore, started=started, keep=keep, pack=pack,
            )
            for key, at in self._positions.items()
        }  # fmt: skip
        self._size = len(recipes)

    def run(self) -> list[Any]:
        """Return all results in order."""
        kind = next(iter(self._calls.values())).kind
        try:
            with self._cache.budget.call(kind, len(self._calls)):
                self._run()
        except Exception as error:
            if error is self._host_error:
                raise
            reraise_interrupt(error)
            self._cache.internal(error, next(iter(self._calls.values())).subject)
        left = [position for position in range(self._size) if position not in self.results]
        if left:
            self._fill(left)
        return [self.results[position] for position in range(self._size)]

    def _run(self) -> None:
        keys = list(self._calls)
        if self._cache.reads:
            keys = self._serve(self._find(keys), keys)
        leading, following = self._join(keys)
        try:
            elsewhere = self._lead(leading)
            for key in leading.keys() - set(elsewhere):
                self._land(leading, key)
            for key in elsewhere:  # who follows waits with us for the other process
                leading[key].ready = self._take_turn(key)
                self._land(leading, key)
        finally:
            for key in list(leading):
                self._land(leading, key)
        undelivered = []
        for key, flight in following.items():
            if flight.mine:
                continue  # our own computation asks for it: it computes
            ready = flight.wait(PATIENCE)
            if ready is None:
                undelivered.append(key)
            else:
                self._serve({key: Hit(ready, "shared")}, [key])
        if undelivered:
            self._encode(undelivered)

    def _land(self, leading: dict[str, Flight], key: str) -> None:
        flight = leading.pop(key)
        self._cache.flights.finish(key, flight, flight.ready)

    def _find(self, keys: Sequence[str], tiers: Sequence[Tier] | None = None) -> dict[str, Hit]:
        memory = self._cache.chain.memory
        hits = {key: Hit(r, memory.name) for key in keys if (r := memory.get(key)) is not None}
        rest = [key for key in keys if key not in hits]
        return hits | self._cache.chain.find_many(rest, tiers)

    def _serve(self, hits: dict[str, Hit], keys: Iterable[str]) -> list[str]:
        """Fill in what was found; return the keys that were not."""
        for key, hit in hits.items():
            for position in self._positions[key]:
                self.results[position] = self._cache.serve(self._calls[key], hit)
        return [key for key in keys if key not in hits]

    def _join(self, keys: Iterable[str]) -> tuple[dict[str, Flight], dict[str, Flight]]:
        leading: dict[str, Flight] = {}
        following: dict[str, Flight] = {}
        for key in keys:
            flight, leader = self._cache.flights.join(key)
            (leading if leader else following)[key] = flight
        return leading, following

    def _lead(self, flights: dict[str, Flight]) -> list[str]:
        """Compute what is ours to compute; return the keys another process is working on."""
        locks, elsewhere = self._lock(flights)
        try:
            mine = [key for key in flights if key not in elsewhere]
            if locks and self._cache.reads:
                hits = self._find(mine, self._cache.chain.lockable)
                for key, hit in hits.items():
                    flights[key].ready = hit.ready
                mine = self._serve(hits, mine)
            if mine:
                for key, ready in self._encode(mine).items():
                    flights[key].ready = ready
        except BaseException:
            self._release(locks, at_once=True)
            raise
        self._release(locks, at_once=not mine)
        return elsewhere

    def _lock(self, keys: Iterable[str]) -> tuple[list[tuple[Tier, Lock]], list[str]]:
        locks: list[tuple[Tier, Lock]] = []
        elsewhere: list[str] = []
        for key in keys if self._cache.reads else ():
            held: list[tuple[Tier, Lock]] = []
            for tier in self._cache.chain.lockable:
                go_on, lock = tier.try_lock(key)
                if lock is not None:
                    held.append((tier, lock))
                if not go_on:
                    self._release(held, at_once=True)
                    elsewhere.append(key)
                    break
            else:
                locks += held
        return locks, elsewhere

    def _release(self, locks: list[tuple[Tier, Lock]], *, at_once: bool) -> None:
        while locks:
            tier, lock = locks.pop()
            self._cache.chain.release(tier, lock, at_once=at_once)

    def _take_turn(self, key: str) -> Ready | None:
        with Turn(self._cache.chain, key, self._cache.budget) as turn:
            if turn.hit is not None:
                self._serve({key: turn.hit}, [key])
                return turn.hit.ready
            return self._encode([key]).get(key)

    def _encode(self, keys: list[str]) -> dict[str, Ready]:
        """Have the host compute the first position of each key, and keep the results."""
        positions = [self._positions[key][0] for key in keys]
        started = time.perf_counter()
        self._fill(positions)
        seconds = (time.perf_counter() - started) / len(keys)
        kept: dict[str, Ready] = {}
        for key, position in zip(keys, positions, strict=True):
            call = self._calls[key]
            try:
                ready, ours = self._cache.keep(call, self.results[position], seconds)
            except Bypass as bypass:
                self._cache.bypassed(bypass, call.plugin)
                continue
            kept[key] = ready
            self._cache.missed(call, seconds, ours)
            if not ours:
                self.results[position] = call.give(ready.fresh())
            for other in self._positions[key][1:]:
                self.results[other] = self._cache.serve(call, Hit(ready, "shared"))
        return kept

    def _fill(self, positions: list[int]) -> None:
        try:
            values = list(self._compute(positions))
        except BaseException as error:
            self._host_error = error
            raise
        if len(values) != len(positions):
            self._host_error = ValueError(
                f"compute was asked for {len(positions)} values and returned {len(values)}"
            )
            raise self._host_error
        self.results.update(zip(positions, values, strict=True))


def _nothing() -> None:
    return None
