"""Setting damaged documents aside: out of everybody's way, and never lost.

What was at `v1/objects/ab/…` is afterwards at `v1/quarantine/objects/ab/….` and the first 8 digits
of the digest of its content. For readers it is not there, so that the next encode writes it anew.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stepaudio_cas.identity.digest import digest_bytes
from stepaudio_cas.store import layout

if TYPE_CHECKING:
    from stepaudio_cas.store.backend import Backend


def quarantine_path(path: str, data: bytes) -> str:
    """Return where a document with this content goes."""
    inside = path.removeprefix(f"{layout.VERSION}/")
    return f"{layout.QUARANTINE}/{inside}.{digest_bytes(data)[:8]}"


def quarantine(backend: Backend, path: str, data: bytes) -> str | None:
    """Move the document there if it still has this content; return where, or None if it has not.

    It is copied first and then removed: whoever dies between the two leaves it in both places.
    """
    target = quarantine_path(path, data)
    backend.put(target, data, create=True)
    return target if backend.delete(path, expect=data) else None
