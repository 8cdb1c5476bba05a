"""The hot path: find an artifact, or have it computed once and keep it."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any, TypeVar, overload

from stepaudio_cas.errors import Bypass
from stepaudio_cas.runtime.batch import Batch
from stepaudio_cas.runtime.budget import Budget
from stepaudio_cas.runtime.call import LEFT_ALONE, Call, Once
from stepaudio_cas.runtime.chain import Chain, Hit
from stepaudio_cas.runtime.decorator import Cached, decorator
from stepaudio_cas.runtime.flights import Flights
from stepaudio_cas.runtime.interrupts import reraise_interrupt
from stepaudio_cas.runtime.turns import PATIENCE, Turn
from stepaudio_cas.settings import Mode, Strictness
from stepaudio_cas.store.counters import Subject, summarise
from stepaudio_cas.units import show_seconds

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

    from stepaudio_cas.artifact.fresh import Ready
    from stepaudio_cas.identity.files import FileDigests
    from stepaudio_cas.identity.fingerprint import Fingerprint
    from stepaudio_cas.identity.recipe import Recipe
    from stepaudio_cas.runtime.housekeeping import Housekeeping
    from stepaudio_cas.runtime.memory import MemoryTier
    from stepaudio_cas.runtime.recorder import Recorder
    from stepaudio_cas.runtime.shadow import Shadow

T = TypeVar("T")


class Cache:
    """Artifacts by recipe, through all tiers.

    Nothing that goes wrong in here reaches the caller: it is counted and said, and the caller's
    own computation decides. Make one with `stepaudio_cas.open`.
    """

    def __init__(
        self,
        chain: Chain,
        recorder: Recorder,
        *,
        mode: Mode,
        shadow: Shadow,
        housekeeping: Housekeeping,
        files: FileDigests,
        strictness: Strictness,
        budget: Budget | None = None,
    ) -> None:
        self.chain = chain
        self.mode = mode
        self.recorder = recorder
        self.flights = Flights()
        self.files = files
        self.strictness = strictness
        self.budget = Budget() if budget is None else budget
        self._memory: MemoryTier = chain.memory
        self._shadow = shadow
        self._housekeeping = housekeeping
        self._used = housekeeping.uses.keys
        self.reads = mode in {Mode.RW, Mode.RO}
        self.enabled = mode is not Mode.OFF and bool(chain.tiers or chain.memory.limit)
        self.quick = self.reads and not shadow.share

    def get_or_compute(
        self,
        recipe: Recipe,
        compute: Callable[[], T],
        *,
        plugin: str = "",
        deterministic: bool = True,
        label: str = "",
        restore: Callable[[Any], Any] | None = None,
        keep: Callable[[Any], bool] | None = None,
        snapshot: Callable[[], Callable[[], Any]] | None = None,
        started: float | None = None,
        pack: Callable[[Any], Any] | None = None,
    ) -> T:
        """Return the artifact of `recipe`; `compute` runs, once, if nobody has it.

        The result is fresh: the caller may change it. `restore` takes a value of ours to the
        device or type the caller expects. `keep` says of a result whether to keep it. `snapshot`
        is for shadow verification, which computes after the call: it returns a computation that
        does not depend on what the caller may change meanwhile; without it this call is not
        verified. `started` is when the look-up began, by `time.perf_counter`, if that was before
        this call. `pack` makes of a result what can be kept of it, for `restore` to undo.
        """
        if not self.enabled:
            return compute()
        if started is None:
            started = time.perf_counter()
        if self.quick:
            value = self.recall(recipe, plugin, restore, started)
            if value is not LEFT_ALONE:
                return value  # type: ignore[no-any-return]
        call = Call(
            recipe, Once(compute), plugin, deterministic, label, restore, snapshot, started, keep,
            pack,
        )  # fmt: skip
        value = self._guarded(call)
        return call.once() if value is LEFT_ALONE else value  # type: ignore[no-any-return]

    def recall(
        self, recipe: Recipe, plugin: str, restore: Callable[[Any], Any] | None, started: float
    ) -> Any:
        """Return a value that memory has, or `LEFT_ALONE`: the hottest path, kept short."""
        try:
            ready = self._memory.get(recipe.key)
            if ready is None:
                return LEFT_ALONE
            fingerprint = recipe.fingerprint
            subject = Subject(plugin, fingerprint.id if fingerprint is not None else "")
            value = ready.fresh() if restore is None else restore(ready.fresh())
            self._served(recipe, subject, "memory", ready.seconds, started)
            if not self._housekeeping.started:
                self._housekeeping.start()
        except Exception as error:
            reraise_interrupt(error)
            self.internal(error, Subject(plugin))
            return LEFT_ALONE
        return value

    def _guarded(self, call: Call) -> Any:
        """Do our part; `LEFT_ALONE` if it did not come to a value, for whatever reason."""
        try:
            with self.budget.call(call.kind):
                return self._lookup(call)
        except Exception as error:
            if error is call.once.error:
                raise
            reraise_interrupt(error)
            self.internal(error, call.subject)
        return LEFT_ALONE

    def _lookup(self, call: Call) -> Any:
        key = call.recipe.key
        if self.reads:
            ready = self._memory.get(key)
            if ready is not None:
                return self.serve(call, Hit(ready, self._memory.name))
        flight, leading = self.flights.join(key)
        if not leading:
            if flight.mine:
                return LEFT_ALONE
            ready = flight.wait(PATIENCE)
            if ready is not None:
                return self.serve(call, Hit(ready, "shared"))
            return self._encode(call)[0]
        landed: Ready | None = None
        try:
            value, landed = self._lead(call)
        finally:
            self.flights.finish(key, flight, landed)
        return value

    def _lead(self, call: Call) -> tuple[Any, Ready | None]:
        key = call.recipe.key
        if not self.reads:
            return self._encode(call)
        hit = self.chain.find(key)
        if hit is not None:
            return self.serve(call, hit), hit.ready
        with Turn(self.chain, key, self.budget) as turn:
            if turn.hit is not None:
                return self.serve(call, turn.hit), turn.hit.ready
            return self._encode(call)

    def _encode(self, call: Call) -> tuple[Any, Ready | None]:
        """Have the host compute it, and keep the result."""
        try:
            value = call.once()
        except BaseException:
            with contextlib.suppress(Exception):
                self.recorder.count(call.subject, {"raised": 1})
                self._housekeeping.start()
            raise
        seconds = call.once.seconds
        try:
            ready, ours = self.keep(call, value, seconds)
        except Bypass as bypass:
            reraise_interrupt(bypass)
            self.bypassed(bypass, call.plugin)
            return value, None
        except Exception as error:
            reraise_interrupt(error)
            self.internal(error, call.subject)
            return value, None
        self.missed(call, seconds, ours)
        return (value if ours else call.give(ready.fresh())), ready

    def keep(self, call: Call, value: Any, seconds: float) -> tuple[Ready, bool]:
        """Keep what the host has computed; raise `Bypass` if it is not to be kept.

        Return the artifact that stands, and whether it is this one.
        """
        if call.keep is not None and not call.keep(value):
            raise Bypass("not-kept", "the result is not one to keep")
        return self.chain.keep(call, value if call.pack is None else call.pack(value), seconds)

    def serve(self, call: Call, hit: Hit) -> Any:
        """Hand out a hit: counted, said, and perhaps checked in the background."""
        value = call.give(hit.ready.fresh())
        if hit.tier != self._memory.name:
            self.budget.learn(call.kind, hit.ready.seconds)
        self._served(call.recipe, call.subject, hit.tier, hit.ready.seconds, call.started)
        self._shadow.consider(call, hit.ready)
        self._housekeeping.start()
        return value

    def _served(
        self, recipe: Recipe, subject: Subject, tier: str, saved: float, started: float
    ) -> None:
        took = time.perf_counter() - started
        self._used[recipe.key] = None
        self.recorder.hit(subject, tier, saved, took, recipe)
        if self.recorder.log.info_on:
            self.recorder.log.info(
                f"hit {tier} {_what(recipe)} in {show_seconds(took)}, saved {show_seconds(saved)}"
            )

    def missed(self, call: Call, seconds: float, ours: bool) -> None:
        """Count and say that the host had to compute."""
        self.budget.learn(call.kind, seconds)
        self.recorder.miss(call.subject, call.recipe, seconds, ours=ours)
        self._housekeeping.start()
        if self.recorder.log.info_on:
            other = "" if ours else "; an earlier result stands, and is used"
            self.recorder.log.info(
                f"miss {_what(call.recipe)} encoded in {show_seconds(seconds)}{other}"
            )

    def bypassed(self, bypass: Bypass, plugin: str = "") -> None:
        """Count and say that a call was not cacheable."""
        with contextlib.suppress(Exception):
            self.recorder.bypass(plugin, bypass)
            self.recorder.log.info_seldom(f"{plugin} {bypass.reason}", f"bypass {plugin} {bypass}")
            self._housekeeping.start()

    def internal(self, error: Exception, subject: Subject) -> None:
        """Count and say a failure of ours that has no better name."""
        with contextlib.suppress(Exception):  # counting may be what fails
            what = f"{type(error).__name__}: {error}"
            text = f"{subject.plugin}: {what}" if subject.plugin else what
            self.recorder.error("internal", text, subject)

    def get_many(
        self,
        recipes: Sequence[Recipe],
        compute: Callable[[list[int]], Sequence[T]],
        *,
        plugin: str = "",
        deterministic: bool = True,
        restore: Callable[[Any], Any] | None = None,
        keep: Callable[[Any], bool] | None = None,
        pack: Callable[[Any], Any] | None = None,
    ) -> list[T]:
        """Return the artifacts of all `recipes`, in order.

        `compute` is called with the positions that nobody has, and returns their values in that
        order. It is called again only for what another process or thread was working on and then
        did not deliver. `restore`, `keep` and `pack` get each value, as in `get_or_compute`.
        """
        if not recipes:
            return []
        if not self.enabled:
            return list(compute(list(range(len(recipes)))))
        batch = Batch(
            self, recipes, compute, plugin=plugin, deterministic=deterministic, restore=restore,
            keep=keep, pack=pack,
        )  # fmt: skip
        return batch.run()

    def get(self, recipe: Recipe, default: Any = None) -> Any:
        """Return the artifact of `recipe` if it is there, else `default`."""
        call = Call(recipe, Once(lambda: default), started=time.perf_counter())
        try:
            with self.budget.call(call.kind):
                hit = self.peek(call.recipe.key) if self.enabled and self.reads else None
            return default if hit is None else self.serve(call, hit)
        except Exception as error:
            reraise_interrupt(error)
            self.internal(error, call.subject)
            return default

    @overload
    def cached(self, function: Callable[..., T], /) -> Cached[T]: ...
    @overload
    def cached(
        self,
        /,
        *,
        name: str | None = None,
        version: str | None = None,
        files: Sequence[str | os.PathLike[str]] = (),
        settings: Mapping[str, Any] | None = None,
        fingerprint: Fingerprint | Callable[[Mapping[str, Any]], Fingerprint] | None = None,
        ignore: Sequence[str] = (),
        deterministic: bool = True,
        restore: Callable[[Any], Any] | None = None,
        keep: Callable[[T], bool] | None = None,
    ) -> Callable[[Callable[..., T]], Cached[T]]: ...
    def cached(self, function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
        """Decorate a function of audio and parameters, so that its results are kept.

        Everything that matters is in the key: the arguments (arrays, tensors and bytes by
        content, `pathlib` paths by the content of the file, anything else by value), the values
        its closure captures, and the function's source text.

        - `files`: model files it uses. `settings`: other values that change its results.
        - `version`: use this instead of the source text and the closure.
        - `fingerprint`: use this, or what it returns for the arguments by name, instead of all
          of these.
        - `ignore`: parameters that do not matter for the result (`self`, a progress bar).
        - `deterministic`: False if two runs differ; the first result is then everybody's.
        - `restore`: takes a kept value to where the function would have put it (a device).
        - `keep`: looks at a result and says whether to keep it (not an empty text after an error).
        - `name`: how it is called in keys and statistics; `module.function` by default.

        A call that cannot be described exactly is passed through, counted with its reason.
        """
        decorate = decorator(self, **options)
        return decorate if function is None else decorate(function)

    def peek(self, key: str) -> Hit | None:
        """Look in all tiers, without encoding and without waiting for anybody."""
        ready = self._memory.get(key)
        return self.chain.find(key) if ready is None else Hit(ready, self._memory.name)

    def put(self, recipe: Recipe, value: T, *, seconds: float = 0.0, label: str = "") -> T:
        """Keep `value` as the artifact of `recipe`; return the one that stands.

        `seconds` is what it took to compute. Raises `Bypass` if the value cannot be kept exactly.
        """
        if not self.enabled:
            return value
        call = Call(recipe, Once(lambda: value), label=label)
        try:
            ready, ours = self.chain.keep(call, value, seconds)
            self._housekeeping.start()
        except Bypass:
            raise
        except Exception as error:
            reraise_interrupt(error)
            self.internal(error, call.subject)
            return value
        return value if ours else ready.fresh()

    def stats(self) -> dict[str, Any]:
        """Return what this process has counted, and the state of its tiers.

        `stepaudio_cas.store.counters.read_tally` reads the counts of all processes of a store.
        """
        return {
            **summarise(self.recorder.tally()),
            "mode": self.mode.value,
            "memory": {
                "entries": len(self._memory),
                "bytes": self._memory.bytes,
                "limit": self._memory.limit,
            },
            "tiers": [tier.state() for tier in self.chain.tiers],
        }

    def flush(self, seconds: float = 5.0) -> bool:
        """Wait for background writes, save the counters; return whether all was written."""
        return self._housekeeping.flush(seconds)

    def prepare(self) -> None:
        """Start what runs in the background now, and not with the first call."""
        self._housekeeping.start()

    def close(self) -> None:
        """Flush, and stop what runs in the background. A closed cache computes."""
        self.enabled = False
        self._housekeeping.close()

    def __enter__(self) -> Cache:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _what(recipe: Recipe) -> str:
    return f"{recipe.key[:12]} {recipe.schema}"
