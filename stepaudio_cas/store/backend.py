"""What a store needs of the place it is in: five verbs on paths."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from stepaudio_cas.errors import Damaged

MAX_BYTES: Final = 1 << 30


class Entry(NamedTuple):
    """One stored document. `mtime` is in seconds, by the clock of the backend."""

    path: str
    size: int
    mtime: float


class Backend(Protocol):
    """Keeps documents under relative paths with `/` between their parts.

    Every verb raises `OSError` (or whatever its client raises) when the place does not answer;
    a document that is not there is no error. Verbs may be called from any thread, and after a
    fork.
    """

    url: str

    def get(self, path: str, *, limit: int = MAX_BYTES, touch: bool = False) -> bytes | None:
        """Return the document, or None. Raise `Damaged` if it is longer than `limit`.

        `touch` marks it as used now, where that is cheap, at most about once an hour.
        """

    def put(self, path: str, data: bytes, *, create: bool = False) -> bool:
        """Write a document whole or not at all. With `create`, never over an existing one.

        Returns whether this call wrote it.
        """

    def stat(self, path: str) -> Entry | None:
        """Return size and time of a document, or None."""

    def delete(self, path: str, *, expect: bytes | None = None) -> bool:
        """Delete a document; with `expect`, only if that is its content. Return whether it went."""

    def list(self, prefix: str) -> Iterator[Entry]:
        """Yield every document below the folder `prefix`; a folder that is not there is empty.

        An error in the middle is raised: a listing that ends without one is complete.
        """


class Lock(Protocol):
    """A lock that is held until `release`, or until its process dies."""

    def release(self) -> None:
        """Let the next one in."""


@runtime_checkable
class Locking(Protocol):
    """A backend that can also keep processes out of each other's way.

    A lock is only ever an optimisation: correctness never rests on it.
    """

    def try_lock(self, name: str) -> Lock | None:
        """Take the lock if it is free; never wait."""


@runtime_checkable
class Bulk(Protocol):
    """A backend that answers many questions in fewer round trips than one each."""

    def get_many(
        self, paths: Sequence[str], *, limit: int = MAX_BYTES, touch: bool = False
    ) -> list[bytes | Damaged | None]:
        """Return the documents in the order of `paths`; None for one that is not there.

        One that is longer than `limit` is a `Damaged` in its place. `touch` is meant as in `get`.
        Raises as that does when the place does not answer.
        """


@runtime_checkable
class Expiring(Protocol):
    """A backend that forgets by itself what was not used for a while."""

    def expire_after(self, seconds: float) -> None:
        """Set that while, unless its URL has set it."""
