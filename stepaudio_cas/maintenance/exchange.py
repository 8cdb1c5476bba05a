"""Entries into an export file, and out of one, everything checked on the way."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, NamedTuple

from stepaudio_cas.artifact.manifest import Manifest, open_manifest, reseal
from stepaudio_cas.errors import Damaged
from stepaudio_cas.identity.digest import digest_bytes
from stepaudio_cas.identity.fingerprint import Fingerprint
from stepaudio_cas.maintenance import transfer
from stepaudio_cas.maintenance.archive import BadArchive, Counts, Member, Reader, Writer
from stepaudio_cas.maintenance.pins import pin
from stepaudio_cas.maintenance.transfer import NOT_OURS, Parcel
from stepaudio_cas.store import layout

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from stepaudio_cas.maintenance.inventory import Kept
    from stepaudio_cas.store.store import Store


class Refused(NamedTuple):
    """A document, or an entry by the path of its manifest, that was not taken, and why."""

    path: str
    reason: str


class _Taken(NamedTuple):
    is_new: bool
    is_pinned: bool


class Export:
    """Writes entries of a store into an archive; `counts` says afterwards how many."""

    def __init__(self, store: Store, file: IO[bytes]) -> None:
        self.counts = Counts()
        self._store = store
        self._writer = Writer(file)
        self._objects: set[bytes] = set()
        self._models: set[str] = set()

    def run(self, entries: Iterable[Kept]) -> Iterator[Refused]:
        """Write them, in the order given; yield each that is damaged, which is left out.

        An entry that is removed meanwhile is left out too. The archive is complete when this ends.
        """
        fetched = transfer.carry([self._store], entries, self._fetch, lambda kept: kept.size)
        for parcel in fetched:
            if isinstance(parcel, Refused):
                yield parcel
            elif parcel is not None:
                self._write(parcel)
        self.counts = self._writer.finish()

    def _fetch(self, kept: Kept) -> Parcel | Refused | None:
        try:
            if kept.damage is None:
                return transfer.fetch(self._store, kept.key, kept.sealed)
            return transfer.fetch(self._store, kept.key)
        except Damaged as damage:
            return Refused(layout.manifest_path(kept.key), str(damage))

    def _write(self, parcel: Parcel) -> None:
        manifest = parcel.manifest
        if manifest.fingerprint not in self._models:
            self._models.add(manifest.fingerprint)
            found = transfer.fetch_fingerprint(self._store.backend, manifest.fingerprint)
            if found is not None:
                self._writer.add(layout.fingerprint_path(found.id), found.document)
        digest = bytes.fromhex(manifest.object)
        if digest not in self._objects:
            self._objects.add(digest)
            self._writer.add(layout.object_path(manifest.object), parcel.blob)
        self._writer.add(layout.manifest_path(manifest.key), parcel.sealed)


class Import:
    """Takes the entries of an archive into a store. First writer wins: what is there stays.

    With a signing key every entry is signed with it: whoever imports an archive trusts it. With
    `dry` nothing is written. `new`, `there` and `refused` count entries, `refused` also documents
    that are no part of an entry.
    """

    def __init__(
        self, store: Store, reader: Reader, *, pinning: bool = False, dry: bool = False
    ) -> None:
        self.new = self.there = self.refused = self.pinned = 0
        self._store = store
        self._reader = reader
        self._pinning = pinning
        self._dry = dry
        self._objects: dict[bytes, Member] = {}
        self._used: set[bytes] = set()
        self._models: dict[str, Fingerprint] = {}

    @property
    def expected(self) -> int:
        """How many entries the index speaks of."""
        return self._reader.index.entries

    def run(self) -> Iterator[Refused | None]:
        """Import one after the other; yield None for each that went well, and what is refused.

        Where the archive ends too early, all that stands before is imported, and that is said.
        """
        for outcome in transfer.carry([self._store], self._entries(), self._take, _weight):
            if isinstance(outcome, Refused):
                self.refused += 1
                yield outcome
                continue
            self.new += outcome.is_new
            self.there += not outcome.is_new
            self.pinned += outcome.is_pinned
            yield None

    def _entries(self) -> Iterator[tuple[Parcel, Fingerprint | None] | Refused]:
        try:
            for member in self._reader.members():
                yield from self._read(member)
        except BadArchive as error:
            yield Refused("", str(error))
            return
        for digest, member in self._objects.items():
            if digest not in self._used:
                yield Refused(member.path, "no manifest after it names it")

    def _read(self, member: Member) -> Iterator[tuple[Parcel, Fingerprint | None] | Refused]:
        if member.problem:
            yield Refused(member.path, member.problem)
        elif member.kind == layout.OBJECTS:
            self._objects[bytes.fromhex(member.name)] = member
        elif member.kind == layout.FINGERPRINTS:
            document = self._reader.read(member)
            if digest_bytes(document) == member.name:
                self._models[member.name] = Fingerprint(member.name, document)
            else:
                yield Refused(member.path, "its content is not what its name says")
        else:
            try:
                parcel = self._parcel(member)
            except Damaged as damage:
                yield Refused(member.path, str(damage))
            else:
                yield parcel, self._models.get(parcel.manifest.fingerprint)

    def _parcel(self, member: Member) -> Parcel:
        sealed = self._reader.read(member)
        manifest = open_manifest(sealed, member.name)
        blob = self._object(manifest)
        return Parcel(manifest, self._signed(manifest, sealed), blob)

    def _signed(self, manifest: Manifest, sealed: bytes) -> bytes:
        signer = self._store.signer
        if signer is None:
            return sealed
        try:
            open_manifest(sealed, manifest.key, signer)
        except Damaged:
            if not signer.signs:
                raise
            return reseal(sealed, signer)
        return sealed

    def _object(self, manifest: Manifest) -> bytes:
        digest = bytes.fromhex(manifest.object)
        member = self._objects.get(digest)
        if member is None:
            raise Damaged("object-missing", f"{manifest.object} does not stand before it")
        self._used.add(digest)
        blob = self._reader.read(member)
        if digest_bytes(blob) != manifest.object or len(blob) != manifest.size:
            raise Damaged("object", f"{manifest.object} is not what its name says")
        return blob

    def _take(self, item: tuple[Parcel, Fingerprint | None] | Refused) -> _Taken | Refused:
        if isinstance(item, Refused):
            return item
        parcel, fingerprint = item
        key = parcel.manifest.key
        try:
            is_new = not self._stands(key) and self._deliver(parcel, fingerprint)
        except Damaged as damage:
            return Refused(layout.manifest_path(key), f"what is there stays: {damage}")
        pinning = self._pinning and not self._dry
        return _Taken(
            is_new, pinning and pin(self._store.backend, key, label=parcel.manifest.label)
        )

    def _stands(self, key: str) -> bool:
        try:
            return transfer.fetch(self._store, key) is not None
        except Damaged as damage:
            if damage.kind in NOT_OURS:
                raise
            return False

    def _deliver(self, parcel: Parcel, fingerprint: Fingerprint | None) -> bool:
        return self._dry or transfer.deliver(self._store, parcel, fingerprint)


def _weight(item: tuple[Parcel, Fingerprint | None] | Refused) -> int:
    return 0 if isinstance(item, Refused) else len(item[0].blob)
