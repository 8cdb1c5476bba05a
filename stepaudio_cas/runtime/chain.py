"""The tiers in order: reading through them, and writing to them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from stepaudio_cas.artifact import codec
from stepaudio_cas.artifact.fresh import Ready
from stepaudio_cas.errors import Damaged
from stepaudio_cas.identity.digest import is_digest
from stepaudio_cas.identity.recipe import check_files
from stepaudio_cas.runtime.provenance import make_manifest
from stepaudio_cas.store.counters import Subject
from stepaudio_cas.store.store import Found

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stepaudio_cas.identity.fingerprint import Fingerprint
    from stepaudio_cas.runtime.background import Background
    from stepaudio_cas.runtime.call import Call
    from stepaudio_cas.runtime.memory import MemoryTier
    from stepaudio_cas.runtime.recorder import Recorder
    from stepaudio_cas.runtime.tier import Tier
    from stepaudio_cas.store.backend import Lock


class Hit(NamedTuple):
    """A value, and the tier that had it."""

    ready: Ready
    tier: str


class Chain:
    """Memory, then stores, fastest first.

    A value found in a store is copied to the tiers above it; a new one goes to the first store at
    once and to the others in the background. Where a store below turns out to have had another
    artifact first, that one replaces ours above it, so that the whole fleet ends with one.
    """

    def __init__(
        self,
        memory: MemoryTier,
        tiers: Sequence[Tier],
        recorder: Recorder,
        background: Background,
        *,
        overwrite: bool = False,
    ) -> None:
        self.memory = memory
        self.tiers = list(tiers)
        self._recorder = recorder
        self._background = background
        self._overwrite = overwrite

    @property
    def writable(self) -> list[Tier]:
        """The tiers that may be written, fastest first."""
        return [tier for tier in self.tiers if tier.writable]

    @property
    def lockable(self) -> list[Tier]:
        """The tiers whose locks an encode takes: that of this machine first, then the fleet's.

        All processes take them in this order, whatever the order of their chains.
        """
        found = [tier for tier in self.writable if tier.lockable and tier.signs]
        return sorted(found, key=lambda tier: tier.shared)

    def release(self, tier: Tier, lock: Lock, *, at_once: bool) -> None:
        """Let the next one in: unless `at_once`, when what we have made is in that store."""
        later = not at_once and tier not in self.writable[:1]
        if not later or not self._background.submit(lambda: tier.release(lock)):
            tier.release(lock)

    def find(self, key: str, tiers: Sequence[Tier] | None = None) -> Hit | None:
        """Look for `key` in the stores (or in some of them), and keep what is found in memory."""
        for tier in self.tiers if tiers is None else tiers:
            found = tier.read(key)
            hit = self._take(tier, found) if found is not None else None
            if hit is not None:
                return hit
        return None

    def find_many(self, keys: Sequence[str], tiers: Sequence[Tier] | None = None) -> dict[str, Hit]:
        """Look for many keys, in each store for all that are still missing at once."""
        hits: dict[str, Hit] = {}
        for tier in self.tiers if tiers is None else tiers:
            missing = [key for key in keys if key not in hits]
            for key, found in tier.read_many(missing).items() if missing else ():
                hit = self._take(tier, found)
                if hit is not None:
                    hits[key] = hit
        return hits

    def _take(self, tier: Tier, found: Found) -> Hit | None:
        """Decode an entry, keep it in memory and in the tiers above; None if it is no use here."""
        ready = self._decode(tier, found)
        if ready is None:
            return None
        manifest = found.manifest
        subject = Subject(manifest.plugin, manifest.fingerprint)
        self._recorder.count(subject, {"bytes.read": len(found.blob)})
        self.memory.put(manifest.key, ready)
        for above in self.tiers[: self.tiers.index(tier)]:
            if above.writable:
                self._later(above, [found], None, below=tier)
        return Hit(ready, tier.name)

    def keep(self, call: Call, value: Any, seconds: float) -> tuple[Ready, bool]:
        """Store a new artifact; return the value that stands, and whether it is this one.

        Raises `Bypass` if the value cannot be kept exactly.
        """
        check_files(call.recipe)
        encoded = codec.encode(value, any_device=call.restore is not None)
        ready = _ready(encoded.codec, codec.decode(encoded.codec, encoded.data), seconds)
        writable = [tier for tier in self.writable if tier.signs]
        if writable:
            manifest = make_manifest(call, encoded, seconds)
            entry = [Found(manifest, encoded.data)]
            first, fingerprint = writable[0], call.recipe.fingerprint
            if not first.in_time:  # it has held this call up for long enough
                self._later(first, entry, fingerprint)
                standing = None
            else:
                standing = first.commit(
                    manifest, encoded.data, fingerprint, overwrite=self._overwrite
                )
            if standing is not None and standing.manifest is not manifest:
                winner = self._decode(first, standing)
                if winner is not None:
                    self.memory.put(call.recipe.key, winner)
                    return winner, False
            elif standing is not None:
                self._count_written(standing, call.subject)
            for tier in writable[1:]:
                self._later(tier, entry, fingerprint)
        self.memory.put(call.recipe.key, ready)
        return ready, True

    def _decode(self, tier: Tier, found: Found) -> Ready | None:
        manifest = found.manifest
        try:
            value = codec.decode(manifest.codec, found.blob)
        except (Damaged, ImportError) as error:
            self._recorder.error(
                "undecodable", f"{tier.name}: the entry {manifest.key} is not used: {error}"
            )
            return None
        return _ready(manifest.codec, value, manifest.compute_seconds)

    def _later(
        self,
        tier: Tier,
        entry: list[Found],
        fingerprint: Fingerprint | None,
        *,
        below: Tier | None = None,
    ) -> None:
        """Write to a tier in the background; what there is no room for is counted.

        `entry` has one, for all tiers it goes to: when one of them has had another artifact first,
        the next ones get that, or the fleet would go on with two. `below` is the tier that a
        promotion comes from.
        """
        manifest, size = entry[0].manifest, len(entry[0].blob)
        subject = Subject(manifest.plugin, manifest.fingerprint)
        promoted = int(below is not None)

        def work() -> None:
            described, ours = fingerprint, entry[0]
            if below is not None and manifest.fingerprint:
                described = _description(manifest.fingerprint, below, tier)
            standing = tier.commit(
                ours.manifest, ours.blob, described, overwrite=self._overwrite, sealed=ours.sealed
            )
            if standing is None:
                self._recorder.count(subject, {"dropped": 1})
            elif standing.manifest is ours.manifest:
                self._count_written(standing, subject, promoted)
            elif not promoted:
                entry[0] = standing
                self._converge(tier, standing)

        if not self._background.submit(work, size):
            self._recorder.count(subject, {"dropped": 1})

    def _converge(self, below: Tier, standing: Found) -> None:
        """Put the artifact that was first in a shared store over ours in the tiers above it."""
        ready = self._decode(below, standing)
        if ready is None:
            return
        manifest = standing.manifest
        for tier in self.tiers[: self.tiers.index(below)]:
            tier.commit(manifest, standing.blob, overwrite=True, sealed=standing.sealed)
        self.memory.put(manifest.key, ready)
        self._recorder.count(Subject(manifest.plugin, manifest.fingerprint), {"lost": 1})

    def _count_written(self, found: Found, subject: Subject, promoted: int = 0) -> None:
        counts = {"stored": 1.0, "bytes.written": float(len(found.blob))}
        if promoted:
            counts["promoted"] = 1
        self._recorder.count(subject, counts)


def _description(identity: str, source: Tier, target: Tier) -> Fingerprint | None:
    """Return the description of a model that a promotion takes along, where it is not yet."""
    known = not is_digest(identity) or target.store.describes(identity)
    return None if known else source.fingerprint(identity)


def _ready(codec_name: str, value: Any, seconds: float) -> Ready:
    if codec_name == codec.TOKENS:
        return Ready.of_tokens(value, seconds)
    return Ready(value, seconds, owned=True)
