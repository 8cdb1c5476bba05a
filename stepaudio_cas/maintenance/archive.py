"""The export file: a tar whose first member, the index, says what has to follow.

The others are documents under the paths they have in a store, ordered by key, each fingerprint and
each object before the first manifest that names it: whoever unpacks it into an empty folder has a
store. The same content makes the same bytes. Whatever else a tar can hold (links, devices, other
paths, sizes beyond what a store takes) is none of this format, and is refused by the reader.
"""

from __future__ import annotations

import json
import tarfile
from typing import IO, TYPE_CHECKING, Final, NamedTuple

from stepaudio_cas.artifact import codec, manifest
from stepaudio_cas.errors import CasError
from stepaudio_cas.store import layout

if TYPE_CHECKING:
    from collections.abc import Iterator

FORMAT: Final = 1
INDEX: Final = "stepaudio-cas-export.json"

_BLOCK: Final = tarfile.BLOCKSIZE
_RECORD: Final = tarfile.RECORDSIZE
_INDEX_BYTES: Final = 512
_KINDS: Final = {
    layout.OBJECTS: (layout.object_path, codec.MAX_BYTES),
    layout.MANIFESTS: (layout.manifest_path, manifest.MAX_BYTES),
    layout.FINGERPRINTS: (layout.fingerprint_path, manifest.MAX_BYTES),
}


_COMPRESSED: Final = {b"\x1f\x8b\x08", b"\x28\xb5\x2f", b"BZh", b"\xfd7z"}


class BadArchive(CasError):  # noqa: N818 - describes the file
    """This is no export file, or not all of one."""


class Counts(NamedTuple):
    """How much there is in an archive; `bytes` are those of its documents."""

    entries: int = 0
    objects: int = 0
    fingerprints: int = 0
    bytes: int = 0


def _counted(documents: dict[str, int], size: int) -> Counts:
    return Counts(
        documents[layout.MANIFESTS],
        documents[layout.OBJECTS],
        documents[layout.FINGERPRINTS],
        size,
    )


class Member(NamedTuple):
    """One document in an archive: the kind of folder it belongs in, and the digest it is about.

    `problem` says why it is refused; then only `path` means anything.
    """

    path: str
    kind: str = ""
    name: str = ""
    offset: int = 0
    size: int = 0
    problem: str = ""


class Writer:
    """Writes an archive; the file must be one that can be read and sought in."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._counts = dict.fromkeys(_KINDS, 0)
        self._bytes = 0
        self._add(INDEX, bytes(_INDEX_BYTES))

    @property
    def counts(self) -> Counts:
        """What has been written so far."""
        return _counted(self._counts, self._bytes)

    def add(self, path: str, data: bytes) -> None:
        """Add a document of a store."""
        self._counts[path.rsplit("/", 1 if path.startswith(layout.FINGERPRINTS) else 2)[0]] += 1
        self._bytes += len(data)
        self._add(path, data)

    def finish(self) -> Counts:
        """Write the end, and the index at the beginning."""
        self._file.write(bytes(2 * _BLOCK))
        self._file.write(bytes(-self._file.tell() % _RECORD))
        self._file.seek(_BLOCK)
        told = json.dumps({"format": FORMAT, **self.counts._asdict()}, sort_keys=True)
        self._file.write(told.ljust(_INDEX_BYTES - 1).encode() + b"\n")
        self._file.flush()
        return self.counts

    def _add(self, path: str, data: bytes) -> None:
        header = tarfile.TarInfo(path)
        header.size = len(data)
        self._file.write(header.tobuf(tarfile.USTAR_FORMAT))
        self._file.write(data)
        self._file.write(bytes(-len(data) % _BLOCK))


class Reader:
    """Reads an archive from a file that can be sought in; reads no more than it has to.

    Raises `BadArchive` if it does not begin with an index that this version understands.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._seen: set[bytes] = set()
        self._found = dict.fromkeys(_KINDS, 0)
        self._bytes = 0
        self.length = file.seek(0, 2)
        file.seek(0)
        if file.read(4)[:3] in _COMPRESSED:
            raise BadArchive("it is compressed; unpack it first, for example with zcat or zstdcat")
        self.index = self._read_index()

    def members(self) -> Iterator[Member]:
        """Yield every member but the index.

        Raises `BadArchive` where it is cut off or is no tar any more, and, at its end, if it is not
        all that the index says; what has been yielded before may be used.
        """
        offset = 2 * _BLOCK
        while (header := self._header(offset)) is not None:
            data = offset + _BLOCK
            offset = data + header.size + -header.size % _BLOCK
            if header.size < 0 or data + header.size > self.length:
                raise BadArchive(f"it is cut off in {_shown(header.name)}, at {self.length} bytes")
            yield self._judged(header, data)
        found = _counted(self._found, self._bytes)
        if found != self.index:
            raise BadArchive(
                f"it is not whole: {found.entries} of {self.index.entries} entries, {found.objects}"
                f" of {self.index.objects} objects, {found.bytes} of {self.index.bytes} bytes"
            )

    def read(self, member: Member) -> bytes:
        """Return the content of a member that is not refused."""
        self._file.seek(member.offset)
        return self._file.read(member.size)

    def _read_index(self) -> Counts:
        header = self._header(0)
        if header is None or header.name != INDEX or not 0 < header.size <= _INDEX_BYTES:
            raise BadArchive("it does not begin with the index of an export of cas-tool")
        self._file.seek(_BLOCK)
        try:
            told = json.loads(self._file.read(header.size))
            if told["format"] != FORMAT:
                raise BadArchive(f"it has format {told['format']}; this version reads {FORMAT}")
            return Counts(*(int(told[name]) for name in Counts._fields))
        except (ValueError, KeyError, TypeError) as error:
            raise BadArchive(f"its index cannot be read: {type(error).__name__}") from None

    def _header(self, offset: int) -> tarfile.TarInfo | None:
        """Return the header there, or None at the end."""
        self._file.seek(offset)
        block = self._file.read(_BLOCK)
        if len(block) < _BLOCK:
            raise BadArchive(f"it is cut off at {self.length} bytes")
        try:
            return tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except tarfile.HeaderError as error:
            if block.count(0) == _BLOCK:
                return None
            raise BadArchive(f"it is no tar at byte {offset}: {error}") from None

    def _judged(self, header: tarfile.TarInfo, offset: int) -> Member:
        path = header.name
        kind = next((kind for kind in _KINDS if path.startswith(f"{kind}/")), "")
        name = layout.digest_in(path)
        problem = ""
        if header.type not in {tarfile.REGTYPE, tarfile.AREGTYPE}:
            problem = f"it is {_TYPES.get(header.type, 'no file')}"
        elif not kind or name is None or _KINDS[kind][0](name) != path:
            problem = "nothing of ours has such a name"
        elif header.size > _KINDS[kind][1]:
            problem = f"it is too large: {header.size} bytes"
        elif _short(kind, name) in self._seen:
            problem = "it is there twice"
        if problem or name is None:
            return Member(_shown(path), problem=problem)
        self._seen.add(_short(kind, name))
        self._found[kind] += 1
        self._bytes += header.size
        return Member(path, kind, name, offset, header.size)


_TYPES: Final = {
    tarfile.LNKTYPE: "a hard link",
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a pipe",
    tarfile.DIRTYPE: "a folder",
}


def _short(kind: str, name: str) -> bytes:
    return kind[len(layout.VERSION) + 1 :][:1].encode() + bytes.fromhex(name)


def _shown(path: str) -> str:
    """Write a name that somebody else has chosen so that a terminal can show it."""
    return ascii(path)[1:-1]
