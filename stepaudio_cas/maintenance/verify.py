"""Is the store whole? Every object against its name, every manifest against what it says.

Writers, readers and gc go on meanwhile: whatever looks wrong is looked at again before it is
reported, in the order that tells damage from somebody at work, and what has gone since is nothing.
Verdicts rest on reading documents, never on a listing alone.
"""

from __future__ import annotations

import os
import re
import time
from enum import Enum, auto
from typing import TYPE_CHECKING, Final, NamedTuple

from stepaudio_cas.artifact.manifest import open_manifest
from stepaudio_cas.errors import Damaged
from stepaudio_cas.identity.digest import digest_bytes
from stepaudio_cas.maintenance.examine import Examiner
from stepaudio_cas.maintenance.findings import STRAY, Finding, Share
from stepaudio_cas.maintenance.references import DAMAGED, References, Sizes
from stepaudio_cas.maintenance.transfer import NOT_OURS
from stepaudio_cas.runtime.keeper import GRACE
from stepaudio_cas.store import layout
from stepaudio_cas.store.local import LocalBackend, is_temporary
from stepaudio_cas.store.urls import is_near

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from stepaudio_cas.maintenance.repair import Repairer
    from stepaudio_cas.store.backend import Entry
    from stepaudio_cas.store.store import Store

_DIGESTS: Final = re.compile(r"[0-9a-f]{64}").findall
_OBJECTS: Final = re.compile(r'"object":"([0-9a-f]{64})"').findall
_FRESH: Final = 30.0
_PATIENCE: Final = 0.5
"""Where documents do not appear in one step, what is fresh and wrong may be half written."""


class _Kind(Enum):
    WHOLE = auto()
    GONE = auto()
    DAMAGED = auto()


class _Verdict(NamedTuple):
    """What the first look at a manifest has shown, and the objects that are no orphans by it."""

    kind: _Kind
    objects: Sequence[str] = ()
    model: str = ""


class Verification:
    """One look at a store, or at a share of it. `entries`, `objects` and so on count what was seen.

    With a `repairer` each finding is mended before it is reported, where that can be done.
    """

    def __init__(
        self,
        store: Store,
        share: Share = Share(),  # noqa: B008 - it is immutable
        *,
        repairer: Repairer | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.store = store
        self.share = share
        self.entries = self.objects = self.bytes = self.fingerprints = 0
        self._backend = store.backend
        self._repairer = repairer
        self._clock = clock
        self._sizes: dict[str, Sizes] = {}
        self._references = References()
        self._unread = False
        self._models: set[str] = set()
        self._missing_models: set[str] = set()

    @property
    def steps(self) -> int:
        """How many steps `run` will make."""
        rest = len(layout.SHARDS) * 2 - len(self.share.shards) if self.share.is_last else 0
        return len(self.share.shards) * 2 + rest

    def run(self, step: Callable[[], object] = lambda: None) -> Iterator[Finding]:
        """Yield what is found; `step` is called after each of the `steps`."""
        with Examiner(self._backend) as self._examiner:
            yield from self._check_fingerprints()
            for shard in self.share.shards:
                yield from self._check_objects(shard)
                step()
            for shard in self.share.shards:
                yield from self._check_manifests(shard)
                step()
            if self.share.is_last:
                yield from self._check_the_whole(step)

    # What a folder holds.

    def _documents(
        self, folder: str, path_of: Callable[[str], str], found: list[tuple[str, Entry]]
    ) -> Iterator[Finding]:
        """Collect what belongs into a folder, by name; yield what does not."""
        local = isinstance(self._backend, LocalBackend)
        entries = self._backend.everything(folder) if local else self._backend.list(folder)  # type: ignore[attr-defined]
        for entry in entries:
            if local and is_temporary(entry.path):
                yield from self._check_leftover(entry)
                continue
            name = layout.digest_in(entry.path)
            if name is not None and path_of(name) == entry.path:
                found.append((name, entry))
            else:
                yield Finding("stray", "file", entry.path, STRAY)
        found.sort()

    def _check_leftover(self, entry: Entry) -> Iterator[Finding]:
        """Report what a killed writer has left; a young one may belong to a living writer."""
        if entry.mtime >= self._clock() - GRACE or self._backend.stat(entry.path) is None:
            return
        finding = Finding("leftover", "file", entry.path, "a writer died before it was finished")
        if self._repairer is not None:
            finding = finding.after(self._repairer.remove(entry.path))
        yield finding

    def _settle(self, suspects: list[tuple[str, Entry]]) -> list[tuple[str, Entry]]:
        """Give whoever is just writing one of these the time to finish."""
        fresh = self._clock() - _FRESH
        in_one_step = is_near(self._backend)
        for _, entry in suspects:
            if entry.mtime > fresh and (entry.size == 0 or not in_one_step):
                time.sleep(_PATIENCE)
                break
        return suspects

    # Objects.

    def _check_objects(self, shard: str) -> Iterator[Finding]:
        found: list[tuple[str, Entry]] = []
        yield from self._documents(f"{layout.OBJECTS}/{shard}", layout.object_path, found)
        sizes = self._sizes[shard] = Sizes(digest for digest, _ in found)
        suspects = []
        verdicts = self._examiner.each([entry for _, entry in found], _judge)
        for (digest, entry), verdict in zip(found, verdicts, strict=True):
            if isinstance(verdict, Damaged):
                suspects.append((digest, entry))
            else:
                sizes[digest] = verdict
                self.objects += verdict is not None
                self.bytes += verdict or 0
        for digest, entry in self._settle(suspects):
            yield from self._confirm_object(digest, entry, sizes)

    def _confirm_object(self, digest: str, entry: Entry, sizes: Sizes) -> Iterator[Finding]:
        data = self._examiner.read(entry.path)
        verdict = _judge(entry, data)
        self.objects += verdict is not None
        if not isinstance(verdict, Damaged):
            sizes[digest] = verdict
            return
        finding = Finding(verdict.kind, "object", entry.path, verdict.detail)
        sizes[digest] = DAMAGED
        if self._repairer is not None:
            finding = finding.after(self._repairer.mend_object(digest, _bytes(data)))
            now = self._backend.stat(entry.path)
            if now is None or finding.mended:
                sizes[digest] = None if now is None else now.size
        yield finding

    # Manifests.

    def _check_manifests(self, shard: str) -> Iterator[Finding]:
        found: list[tuple[str, Entry]] = []
        yield from self._documents(f"{layout.MANIFESTS}/{shard}", layout.manifest_path, found)
        suspects = []
        verdicts = self._examiner.each([entry for _, entry in found], self._judge_manifest)
        for (key, entry), verdict in zip(found, verdicts, strict=True):
            self._references.add(verdict.objects)
            if verdict.kind is _Kind.WHOLE:
                self.entries += 1
                yield from self._check_model(verdict.model, entry.path)
            elif verdict.kind is not _Kind.GONE:
                suspects.append((key, entry))
        for key, entry in self._settle(suspects):
            yield from self._confirm_manifest(key, entry)

    def _judge_manifest(self, entry: Entry, data: bytes | Damaged | None) -> _Verdict:
        if not isinstance(data, bytes):
            return _Verdict(_Kind.GONE if data is None else _Kind.DAMAGED)
        try:
            manifest = open_manifest(data, _name(entry), self.store.signer)
        except Damaged:
            return _Verdict(_Kind.DAMAGED)
        size = self._size_of(manifest.object)
        right = size in {manifest.size, DAMAGED}
        kind = _Kind.WHOLE if right else _Kind.DAMAGED
        return _Verdict(kind, [manifest.object], manifest.fingerprint)

    def _size_of(self, digest: str) -> int | None:
        sizes = self._sizes.get(digest[:2])
        if sizes is not None:
            return sizes[digest]
        entry = self._backend.stat(layout.object_path(digest))
        return None if entry is None else entry.size

    def _confirm_manifest(self, key: str, entry: Entry) -> Iterator[Finding]:
        data = self._examiner.read(entry.path)
        damage = self._damage_of(key, data)
        if damage is not None and damage.kind == "object-missing":
            # Whoever removes an entry takes the manifest first: one that stays has lost its object.
            data, before = self._examiner.read(entry.path), data
            damage = self._damage_of(key, data) if data != before else damage
        if data is None:
            return
        self.entries += 1
        self._note_references(data)
        if damage is None:
            return
        finding = Finding(damage.kind, "manifest", entry.path, damage.detail)
        if self._repairer is not None and damage.kind not in NOT_OURS:
            finding = finding.after(self._repairer.mend_manifest(key, _bytes(data)))
        elif self._repairer is not None:
            finding = finding._replace(done="left as it is: not ours to judge")
        yield finding

    def _note_references(self, data: bytes | Damaged) -> None:
        if isinstance(data, Damaged):
            self._unread = True
        else:
            self._references.add(_referred(data))

    def _damage_of(self, key: str, data: bytes | Damaged | None) -> Damaged | None:
        """Look again at one entry, at its object too."""
        if data is None or isinstance(data, Damaged):
            return data
        try:
            manifest = open_manifest(data, key, self.store.signer)
        except Damaged as damage:
            return damage
        path = layout.object_path(manifest.object)
        entry = self._backend.stat(path)
        if entry is None:
            return Damaged("object-missing", f"its object {manifest.object} is not there")
        if entry.size == manifest.size:
            return None
        blob = self._examiner.read(path)
        if not isinstance(blob, bytes) or digest_bytes(blob) != manifest.object:
            return None  # the object's own damage, reported as such
        return Damaged("size", f"it says {manifest.size} bytes, its object has {len(blob)}")

    # Fingerprints.

    def _check_fingerprints(self) -> Iterator[Finding]:
        found: list[tuple[str, Entry]] = []
        problems = list(self._documents(layout.FINGERPRINTS, layout.fingerprint_path, found))
        if self.share.is_last:
            yield from problems
        self._models = {identity for identity, _ in found}
        mine = set(self.share.shards)
        checked = [(identity, entry) for identity, entry in found if identity[:2] in mine]
        verdicts = self._examiner.each([entry for _, entry in checked], _judge)
        suspects = []
        for named, verdict in zip(checked, verdicts, strict=True):
            self.fingerprints += verdict is not None
            suspects += [named] if isinstance(verdict, Damaged) else []
        for identity, entry in self._settle(suspects):
            data = self._examiner.read(entry.path)
            verdict = _judge(entry, data)
            if isinstance(verdict, Damaged):
                finding = Finding(verdict.kind, "fingerprint", entry.path, verdict.detail)
                yield self._mend_model(finding, identity, data)

    def _check_model(self, identity: str, path: str) -> Iterator[Finding]:
        """Report once that a model is described nowhere: entries work, `explain` says less."""
        if not identity or identity in self._models or identity in self._missing_models:
            return
        self._missing_models.add(identity)
        try:
            where = layout.fingerprint_path(identity)
        except ValueError:
            yield Finding("fingerprint-missing", "manifest", path, f"{identity!r} names no model")
            return
        if self._backend.stat(where) is None and self._backend.stat(path) is not None:
            detail = f"entries refer to it, {path.rsplit('/', 1)[-1]} for one"
            finding = Finding("fingerprint-missing", "fingerprint", where, detail)
            yield self._mend_model(finding, identity, None)

    def _mend_model(self, finding: Finding, identity: str, data: bytes | Damaged | None) -> Finding:
        if self._repairer is None:
            return finding
        there = finding.kind != "fingerprint-missing"
        return finding.after(self._repairer.mend_fingerprint(identity, _bytes(data), there=there))

    # The store as a whole.

    def _check_the_whole(self, step: Callable[[], object]) -> Iterator[Finding]:
        yield from self._documents(layout.PINS, layout.pin_path, [])
        yield from self._check_beside()
        mine = set(self.share.shards)
        for shard in layout.SHARDS:
            if shard not in mine:
                self._refer(shard)
                step()
        for shard in layout.SHARDS:
            if not self._unread:  # what cannot be read may refer to anything
                yield from self._check_orphans(shard)
            step()

    def _check_beside(self) -> Iterator[Finding]:
        """Look at what is beside the shards, on a disk."""
        if not isinstance(self._backend, LocalBackend):
            return
        for folder in (layout.OBJECTS, layout.MANIFESTS):
            try:
                names = sorted(os.listdir(f"{self._backend.root}/{folder}"))
            except FileNotFoundError:
                continue
            for name in names:
                if name not in layout.SHARDS:
                    yield Finding("stray", "file", f"{folder}/{name}", STRAY)

    def _refer(self, shard: str) -> None:
        """Note what the manifests of a shard that is not ours to check refer to."""

        def same(_: Entry, data: bytes | Damaged | None) -> bytes | Damaged:
            return b"" if data is None else data

        for data in self._examiner.each(self._backend.list(f"{layout.MANIFESTS}/{shard}"), same):
            self._note_references(data)

    def _check_orphans(self, shard: str) -> Iterator[Finding]:
        """Report objects that nobody refers to, but young ones: their writer may still be at it.

        Whoever refers to an old object writes it again first, which makes it young.
        """
        limit = self._clock() - GRACE
        for entry in self._backend.list(f"{layout.OBJECTS}/{shard}"):
            digest = layout.digest_in(entry.path) if entry.mtime < limit else None
            if digest is None or digest in self._references:
                continue
            now = self._backend.stat(entry.path)
            if now is not None and now.mtime < limit and layout.object_path(digest) == entry.path:
                yield Finding("orphan", "object", entry.path, "no manifest names it; gc takes it")


def _judge(entry: Entry, data: bytes | Damaged | None) -> int | Damaged | None:
    """Hold a document against the digest it is named by; return its length if it is whole."""
    if data is None or isinstance(data, Damaged):
        return data
    if digest_bytes(data) == _name(entry):
        return len(data)
    return Damaged("object" if "/objects/" in entry.path else "fingerprint", _says(data))


def _referred(manifest: bytes) -> list[str]:
    """Name the objects that a manifest may refer to, even if it is damaged, newer or not ours."""
    text = manifest.decode("latin-1")
    return _OBJECTS(text) or _DIGESTS(text)


def _says(data: bytes) -> str:
    return f"its {len(data)} bytes are not what its name says" if data else "it is empty"


def _name(entry: Entry) -> str:
    name = layout.digest_in(entry.path)
    assert name is not None
    return name


def _bytes(data: bytes | Damaged | None) -> bytes | None:
    return data if isinstance(data, bytes) else None
