"""What S3 and GCS have in common: buckets, few and short retries, many requests in flight."""

from __future__ import annotations

import random
import re
import threading
import time
from typing import TYPE_CHECKING, Final, TypeAlias
from urllib.parse import urlsplit

from stepaudio_cas._fork import survive_fork
from stepaudio_cas.errors import Damaged, Forbidden, Unavailable
from stepaudio_cas.store.backend import MAX_BYTES, Entry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from stepaudio_cas.store.http import Answer

AT_ONCE: Final = 32
"""Requests in flight, when there are many documents to get."""

PAGE: Final = 1000
PAGE_BYTES: Final = 16 << 20

Page: TypeAlias = "tuple[list[tuple[str, int, float]], str | None]"
"""Keys with size and time, and where to go on."""

_PAUSES: Final = (0.05, 0.2)
_TRY_AGAIN: Final = frozenset({429, 500, 502, 503, 504})
_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]", re.IGNORECASE).fullmatch


def bucket_and_prefix(url: str) -> tuple[str, str]:
    """Take `scheme://bucket/some/prefix` apart; raise `ValueError` saying what is wrong with it."""
    parts = urlsplit(url)
    if "@" in parts.netloc:
        raise ValueError("credentials do not belong into a URL; it is shown and logged")
    if parts.query or parts.fragment or not _BUCKET(parts.netloc):
        raise ValueError(f"a bucket and a folder in it: {parts.scheme}://bucket/voices")
    folder = "/".join(part for part in parts.path.split("/") if part)
    return parts.netloc, f"{folder}/" if folder else ""


class ObjectStore:
    """Documents are objects of a bucket, below a prefix.

    A document is got in one round trip, whether it is there or not. Listings come from the server,
    page by page. A request that the server could not take is made again after a moment, twice at
    the most: whoever waits has a deadline, and can do without us.
    """

    def __init__(self, scheme: str, url: str) -> None:
        self.bucket, self.prefix = bucket_and_prefix(url)
        self.url = f"{scheme}://{self.bucket}/{self.prefix}".rstrip("/")
        self._bucket_seen = False
        survive_fork(self)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r})"

    def _after_fork(self) -> None:
        """Have nothing to start over."""

    def get(self, path: str, *, limit: int = MAX_BYTES, touch: bool = False) -> bytes | None:
        del touch  # object stores know no time of last use
        found = self._fetch(path, limit)
        return None if found is None else found[0]

    def get_many(
        self, paths: Sequence[str], *, limit: int = MAX_BYTES, touch: bool = False
    ) -> list[bytes | Damaged | None]:
        del touch

        def one(path: str) -> bytes | Damaged | None:
            try:
                return self.get(path, limit=limit)
            except Damaged as damage:
                return damage

        return at_once(one, paths)

    def delete(self, path: str, *, expect: bytes | None = None) -> bool:
        version = self._version(path, expect)
        return version is not None and self._delete(path, version)

    def _version(self, path: str, expect: bytes | None) -> str | None:
        """Return what names the document as it is now; None if it is not there, or another."""
        if expect is None:
            found = self._look(path)
            return None if found is None else found[1]
        try:
            got = self._fetch(path, max(len(expect), 1))
        except Damaged:  # longer than what is expected
            return None
        return got[1] if got is not None and got[0] == expect else None

    def stat(self, path: str) -> Entry | None:
        found = self._look(path)
        return None if found is None else found[0]

    def list(self, prefix: str) -> Iterator[Entry]:
        at: str | None = ""
        while at is not None:
            entries, at = self._page(f"{self.prefix}{prefix}/", at)
            self._bucket_seen = True
            for key, size, mtime in entries:
                if not key.endswith("/"):
                    yield Entry(key[len(self.prefix) :], size, mtime)

    def _fetch(self, path: str, limit: int) -> tuple[bytes, str] | None:
        """Return a document, and what names this version of it."""
        raise NotImplementedError

    def _look(self, path: str) -> tuple[Entry, str] | None:
        """Return size and time of a document, and what names this version of it."""
        raise NotImplementedError

    def _delete(self, path: str, version: str) -> bool:
        """Delete that version, and no other one where the server can tell them apart."""
        raise NotImplementedError

    def _page(self, prefix: str, at: str) -> Page:
        """List from `at` on."""
        raise NotImplementedError

    def _patiently(self, ask: Callable[[], Answer]) -> Answer:
        answer = ask()
        for pause in _PAUSES:
            if answer.status not in _TRY_AGAIN:
                break
            time.sleep(pause * (0.5 + random.random()))  # noqa: S311 - so that a fleet spreads out
            answer = ask()._replace(repeated=True)
        return answer

    def _missing(self) -> None:
        """Raise if a document is missing because the bucket is."""
        if not self._bucket_seen:
            self._page(f"{self.prefix}v1/", "")
            self._bucket_seen = True

    def _named(self, status: int, code: str, text: str, *, writing: bool = False) -> Exception:
        """Return the exception that an answer other than success means."""
        said = ": ".join(" ".join(part.split())[:200] for part in (code, text) if part)
        said = said or f"HTTP status {status}"
        if code == "NoSuchBucket":
            return Unavailable("bucket", f"there is no bucket {self.bucket} ({said})")
        if status in {401, 407} or code in BAD_CREDENTIALS:
            return Unavailable("credentials", said)
        if code == "RequestTimeTooSkewed":
            return Unavailable("clock", said)
        if status == 403:
            what = "write to" if writing else "read from"
            return Forbidden(f"not allowed to {what} {self.url}: {said}")
        if status in {301, 307, 308}:
            return Unavailable("region", f"{self.bucket} is somewhere else ({said})")
        return Unavailable("busy" if status in {429, 503} else "server", said)


BAD_CREDENTIALS: Final = frozenset(
    {
        "AuthFailure",
        "ExpiredToken",
        "InvalidAccessKeyId",
        "InvalidToken",
        "SignatureDoesNotMatch",
        "TokenRefreshRequired",
        "UnauthorizedAccess",
    }
)


def at_once(
    function: Callable[[str], bytes | Damaged | None], paths: Sequence[str]
) -> list[bytes | Damaged | None]:
    """Call `function` on every path, many at a time, in threads that keep no process from ending.

    The first failure is raised; what has not begun by then is left.
    """
    results: list[bytes | Damaged | None] = [None] * len(paths)
    if len(paths) < 2:
        return [function(path) for path in paths]
    numbers, failures = iter(range(len(paths))), list[BaseException]()

    def work() -> None:
        try:
            for number in numbers:
                if failures:
                    return
                results[number] = function(paths[number])
        except BaseException as error:  # raised below, where the caller is
            failures.append(error)

    threads = [
        threading.Thread(target=work, name="stepaudio-cas getting", daemon=True)
        for _ in range(min(AT_ONCE, len(paths)) - 1)
    ]
    started = []
    for thread in threads:
        try:
            thread.start()
        except RuntimeError:  # no more threads: those that there are will do
            break
        started.append(thread)
    work()
    for thread in started:
        thread.join()
    if failures:
        raise failures[0]
    return results
