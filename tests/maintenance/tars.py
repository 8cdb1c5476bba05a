"""Export files, whole and hostile."""

import io
import json
import tarfile

from stepaudio_cas.maintenance.archive import INDEX, Reader
from stepaudio_cas.maintenance.exchange import Export, Import
from stepaudio_cas.maintenance.inventory import manifests


def exported(store):
    """All of a store as the bytes of an export file."""
    file = io.BytesIO()
    refused = list(Export(store, file).run(manifests(store.backend, store.signer)))
    return file.getvalue(), refused


def imported(store, data, **options):
    """Import; return what was refused, and the counts (new, there, refused)."""
    taken = Import(store, Reader(io.BytesIO(data)), **options)
    refused = [(r.path, r.reason) for r in taken.run() if r is not None]
    return refused, (taken.new, taken.there, taken.refused)


def unpacked(data):
    """The members of a tar, as (header, content)."""
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return [
            (info, tar.extractfile(info).read() if info.isreg() else b"")
            for info in tar.getmembers()
        ]


def packed(members, end=bytes(1024)):
    """A tar of these members, however wrong they are."""
    out = b""
    for info, content in members:
        out += info.tobuf(tarfile.GNU_FORMAT) + content + bytes(-len(content) % 512)
    return out + end


def member(path, content=b"", kind=tarfile.REGTYPE, size=None, link=""):
    info = tarfile.TarInfo(path)
    info.type = kind
    info.size = len(content) if size is None else size
    info.linkname = link
    return info, content


def index(**counts):
    """The first member, with counts that are told."""
    told = {"format": 1, "entries": 0, "objects": 0, "fingerprints": 0, "bytes": 0, **counts}
    return member(INDEX, json.dumps(told).encode())
