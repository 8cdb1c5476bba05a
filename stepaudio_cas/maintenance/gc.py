"""Taking out of a store what is used least, and what nothing refers to, while it is in use.

Two phases: *mark* looks at everything and makes a plan; whatever goes wrong there, nothing is
removed. *Sweep* does what the plan says. All times are by the store's own clock. Nothing of this
needs to be finished: what a killed run has left is what the next one finds.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from stepaudio_cas.errors import CasError, SettingError
from stepaudio_cas.identity.digest import is_digest
from stepaudio_cas.maintenance.facts import object_of
from stepaudio_cas.maintenance.inventory import manifests, many, objects, pinned, read_all
from stepaudio_cas.maintenance.lease import Lease, held
from stepaudio_cas.maintenance.plan import RECENT, Bounds, Fate, Plan, Row
from stepaudio_cas.maintenance.selection import Selection
from stepaudio_cas.maintenance.sweep import Sweep, Swept, seal_of
from stepaudio_cas.runtime.keeper import GRACE
from stepaudio_cas.store import layout
from stepaudio_cas.store.counters import MAX_BYTES as MAX_COUNTERS
from stepaudio_cas.store.counters import load_tally
from stepaudio_cas.store.local import LocalBackend
from stepaudio_cas.store.probe import probe
from stepaudio_cas.store.uses import MAX_BYTES as MAX_USES
from stepaudio_cas.store.uses import Latest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stepaudio_cas.maintenance.inventory import Kept
    from stepaudio_cas.store.backend import Backend, Entry

MAX_SKEW: Final = 300.0
"""Clocks that differ by more are wrong, and what is old cannot be told from what is new."""

Advance = Callable[[], object]

CURRENT: Final = "current"
STEPS: Final = 2 * len(layout.SHARDS)
"""How often `advance` is called while marking; while sweeping it is half as often."""

_DAY: Final = 86400.0
_DIGITS: Final = re.compile(r"[0-9a-f]{4,64}").fullmatch
_TEMPORARY: Final = ".tmp-"
_FLAT: Final = (layout.COUNTERS, layout.USES, layout.FINGERPRINTS, layout.LEASES, layout.PROBES)
_SHARDS_AT_ONCE: Final = 8


class Asked(NamedTuple):
    """What somebody wants: bounds for the entries of `plugin`, or for all.

    `models` holds beginnings of fingerprints and perhaps `CURRENT`; entries of others go.
    """

    bounds: Bounds = Bounds()
    plugin: str | None = None
    models: tuple[str, ...] = ()


def _stand_still() -> None:
    """Stand in for a bar."""


class Collector:
    """One run over one store. Raises `CasError` if it must not go on, saying why.

    With `look_only` nothing at all is written, and our clock is taken for the store's.
    """

    def __init__(
        self,
        backend: Backend,
        asked: Asked,
        *,
        look_only: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        for word in asked.models:
            if word != CURRENT and not _DIGITS(word):
                raise SettingError(
                    f"{word!r} is neither {CURRENT} nor the first 4 or more digits of a model;"
                    " cas-tool stats lists the models"
                )
        self._backend = backend
        self._asked = asked
        self._clock = clock
        self._skew = 0.0 if look_only else _measured_skew(backend, clock)
        self._lease = Lease()
        self._uses = Latest()

    def now(self) -> float:
        """Return the time by the clock of the store."""
        return self._clock() + self._skew

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Keep a second run from doing the same at the same time."""
        with held(self._backend, "gc", self.now) as lease:
            self._lease = lease
            yield

    def plan(self, advance: Advance = _stand_still) -> Plan:
        """Look at everything, and decide. Whatever fails, nothing has been changed."""

        def step() -> None:
            self._lease.renew()
            advance()

        try:
            self._uses = _read_uses(self._backend)
            marking = _Marking(self._backend, self._asked, self._uses, self.now, step)
            return marking.run()
        except CasError:
            raise
        except Exception as error:
            raise CasError(
                f"{self._backend.url} could not be looked through: {error}; nothing was removed"
            ) from error

    def sweep(self, plan: Plan, advance: Advance = _stand_still) -> Swept:
        """Remove what the plan says."""
        sweep = Sweep(self._backend, plan, renew=self._lease.renew, advance=advance)
        try:
            swept = sweep.run()
            self._uses.fold(self._backend, plan.has, now=self.now())
        except CasError:
            raise
        except Exception as error:
            raise CasError(
                f"{self._backend.url} failed: {error}; {sweep.swept.entries} entries had been"
                " removed, what is left is whole, and the next run does the rest"
            ) from error
        return swept


class _Marking:
    """The first phase: fill a plan with everything there is."""

    def __init__(
        self,
        backend: Backend,
        asked: Asked,
        uses: Latest,
        now: Callable[[], float],
        step: Callable[[], None],
    ) -> None:
        self._backend = backend
        self._asked = asked
        self._uses = uses
        self._now = now
        self._step = step
        self._latest = now() + MAX_SKEW
        self._plan = Plan(now())
        self._matches = Selection(plugin=asked.plugin).matcher()
        self._newest: dict[tuple[str, str], tuple[str, set[str]]] = {}
        self._active: set[str] = set()

    def run(self) -> Plan:
        plan, backend = self._plan, self._backend
        pins = pinned(backend)
        self._active = _active_models(backend, plan.now - _DAY)
        for kept in manifests(backend, step=lambda _: self._stepped()):
            plan.add(self._row(kept, pins))
        plan.refer()
        for digest, entry in self._objects():
            plan.add_object(digest, entry.size, self._checked(entry).mtime)
        plan.leftovers = list(self._leftovers())
        if not plan.blind:
            plan.fingerprints = list(self._fingerprints())
        plan.decide(self._asked.bounds._replace(models=self._models()))
        return plan

    def _stepped(self) -> None:
        self._latest = self._now() + MAX_SKEW
        self._step()

    def _checked(self, entry: Entry) -> Entry:
        if entry.mtime > self._latest:
            raise CasError(
                f"{entry.path} in {self._backend.url} was written"
                f" {entry.mtime - self._latest + MAX_SKEW:.0f} s in the future: a clock is wrong,"
                " and what is old cannot be told from what is new; nothing was removed."
                " Set the clock, or touch that document"
            )
        return entry

    def _row(self, kept: Kept, pins: set[str]) -> Row:
        entry, manifest, plan = self._checked(kept.entry), kept.manifest, self._plan
        used = self._uses.of(kept.key, entry.mtime)
        digest = object_of(kept)
        fate = Fate.FREE
        if kept.damage is not None and kept.damage.kind == "format":
            fate = Fate.FOREIGN
            plan.blind = plan.blind or digest is None
        elif not self._matches(kept):
            fate = Fate.OTHER
        elif kept.key in pins:
            fate = Fate.PINNED
        elif used > plan.now - RECENT:
            fate = Fate.RECENT
        model = _model_in(kept)
        if used > plan.now - _DAY:
            self._active.add(model)  # behind another store, uses are all that is seen of a process
        if manifest is not None:
            self._note(manifest.plugin, manifest.schema, manifest.created, model)
        return Row(
            key=int(kept.key[:16], 16),
            seal=seal_of(kept.sealed or None),
            size=entry.size,
            used=used,
            object=int(digest[:16], 16) if digest is not None else 0,
            seconds=manifest.compute_seconds if manifest is not None else 0.0,
            model=model,
            fate=fate,
            plugin=manifest.plugin if manifest is not None else "",
        )

    def _note(self, plugin: str, schema: str, created: str, model: str) -> None:
        newest, models = self._newest.get((plugin, schema), ("", set()))
        if created > newest:
            self._newest[plugin, schema] = created, {model}
        elif created == newest:
            self._newest[plugin, schema] = newest, models | {model}

    def _models(self) -> tuple[str, ...]:
        """Name the models whose entries stay; nothing if that was not asked for."""
        models: set[str] = set()
        for word in self._asked.models:
            if word == CURRENT:
                models |= self._active.union(*(newest for _, newest in self._newest.values()))
                continue
            if not any(model.startswith(word) for model in self._plan.models):
                raise SettingError(
                    f"no entry in {self._backend.url} has a model that begins with {word};"
                    " nothing was removed. cas-tool stats lists the models"
                )
            models.add(word)
        return tuple(sorted(models - {""}))

    def _objects(self) -> Iterator[tuple[str, Entry]]:
        def listed(shard: str) -> list[tuple[str, Entry]]:
            return list(objects(self._backend, shard))

        for start in range(0, len(layout.SHARDS), _SHARDS_AT_ONCE):
            shards = layout.SHARDS[start : start + _SHARDS_AT_ONCE]
            for found in many(self._backend, listed, shards):
                yield from found
                self._stepped()

    def _leftovers(self) -> Iterator[tuple[str, int]]:
        """Find what dead writers and probes have left."""
        limit = self._plan.now - GRACE
        for entry in self._backend.list(layout.PROBES):
            if entry.mtime < limit:
                yield entry.path, entry.size
        if not isinstance(self._backend, LocalBackend):
            return
        sharded = (layout.OBJECTS, layout.MANIFESTS, layout.PINS)
        folders = [f"{folder}/{shard}" for folder in sharded for shard in layout.SHARDS]
        for folder in (*folders, *_FLAT):
            for path in _temporary(self._backend, folder):
                entry_ = self._backend.stat(path)
                if entry_ is not None and entry_.mtime < limit:
                    yield path, entry_.size

    def _fingerprints(self) -> Iterator[tuple[str, int]]:
        """Find the descriptions of models that no entry has, and no process has used lately."""
        for entry in self._backend.list(layout.FINGERPRINTS):
            model = layout.digest_in(entry.path)
            if model is None or model in self._plan.models or model in self._active:
                continue
            if entry.mtime < self._plan.now - _DAY:
                yield entry.path, entry.size


def _temporary(backend: LocalBackend, folder: str) -> list[str]:
    try:
        names = os.listdir(f"{backend.root}/{folder}")
    except FileNotFoundError:
        return []
    return [f"{folder}/{name}" for name in names if name.startswith(_TEMPORARY)]


def _model_in(kept: Kept) -> str:
    """Return the fingerprint that an entry names, also one that is damaged."""
    if kept.manifest is not None:
        return kept.manifest.fingerprint
    try:
        named: Any = json.loads(kept.sealed)["fingerprint"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""
    return named if is_digest(named) else ""


def _active_models(backend: Backend, since: float) -> set[str]:
    """Name the models that a process has counted anything for since then."""
    recent = [entry.path for entry in backend.list(layout.COUNTERS) if entry.mtime > since]
    models: set[str] = set()
    for data in read_all(backend, recent, limit=MAX_COUNTERS):
        tally = load_tally(data) if isinstance(data, bytes) else None
        if tally is not None:
            models |= {subject.model for subject in tally.subjects}
    return models


def _read_uses(backend: Backend) -> Latest:
    """Read the journals, several at once."""
    uses = Latest()
    found = list(backend.list(layout.USES))
    documents = read_all(backend, [entry.path for entry in found], limit=MAX_USES)
    for entry, data in zip(found, documents, strict=True):
        uses.add(entry, data)
    return uses


def _measured_skew(backend: Backend, clock: Callable[[], float]) -> float:
    if isinstance(backend, LocalBackend):
        skew = _folder_skew(backend, clock)
    else:
        found = probe(backend, clock=clock)
        if not found.writable:
            raise CasError(f"{backend.url} cannot be written: {found.error}; nothing was removed")
        skew = found.clock_skew
    if abs(skew) > MAX_SKEW:
        raise CasError(
            f"the clock of {backend.url} is off from ours by {skew:+.0f} s: what is"
            " old cannot be told from what is new; nothing was removed. Set the clocks first"
        )
    return skew


def _folder_skew(backend: LocalBackend, clock: Callable[[], float]) -> float:
    """Ask the file system for its time, without a byte written: the disk may be full."""
    folder, before = f"{backend.root}/{layout.VERSION}", clock()
    try:
        os.utime(folder)
        now = os.stat(folder).st_mtime
    except FileNotFoundError:
        return 0.0
    except OSError as error:
        raise CasError(f"{backend.url} cannot be written: {error}; nothing was removed") from None
    return min(now - before, 0.0) or max(now - clock(), 0.0)
