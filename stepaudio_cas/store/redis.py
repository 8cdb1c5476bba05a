"""A store in Redis: one server, behind Sentinel, or a cluster.

Documents are strings whose keys are their paths behind a prefix. When each was used last stands
beside them in sorted sets, `<prefix>times:<room>:<shard>`, a member for each document: Redis itself
knows only how long a key was not looked at, and every look, such as a listing's, would change that.
A time that is not there (evicted, or expired) is taken for now. No command needs two keys, so that
a cluster may have them wherever it likes.
"""

from __future__ import annotations

import itertools
import re
import threading
import time
from functools import wraps
from typing import TYPE_CHECKING, Any, Final, TypeVar

from stepaudio_cas._fork import survive_fork
from stepaudio_cas.errors import Damaged
from stepaudio_cas.store import layout
from stepaudio_cas.store.backend import MAX_BYTES, Entry
from stepaudio_cas.store.redis_client import (
    answers,
    checked,
    clock_ahead,
    connect,
    is_wrong_type,
    nodes,
    telling,
)
from stepaudio_cas.store.redis_lease import RELEASE, Leases

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from stepaudio_cas.store.redis_lease import Lease
    from stepaudio_cas.store.redis_url import Place

_TOUCH_AFTER: Final = 3600.0
_TOUCHES: Final = 4096
_SCAN: Final = 1000
_MANY: Final = 500
_PRUNE_EVERY: Final = 16
_EXPIRING: Final = (f"{layout.OBJECTS}/", f"{layout.MANIFESTS}/")
T = TypeVar("T")
_SPECIAL: Final = re.compile(rb"[*?\[\]\\^-]")


def _telling(verb: Callable[..., T]) -> Callable[..., T]:
    """Have a verb raise what is ours, not the client's."""

    @wraps(verb)
    def told(backend: RedisBackend, *args: Any, **kwargs: Any) -> T:
        with telling(backend._place):  # noqa: SLF001 - of this module
            return verb(backend, *args, **kwargs)

    return told


class RedisBackend:
    """Documents in Redis, below a prefix.

    With a time to live, objects and manifests expire that long after they were last used.
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        self.url = place.shown
        self._ttl = place.ttl
        self._leases = Leases(self._connect)
        self._after_fork()
        survive_fork(self)

    def __repr__(self) -> str:
        return f"RedisBackend({self.url!r})"

    def _after_fork(self) -> None:
        self._connecting = threading.Lock()
        self._client: Any = None
        self._ahead: float | None = None
        self._touched: dict[str, float] = {}
        self._puts = itertools.count(1)
        self._leases.start_over()

    def expire_after(self, seconds: float) -> None:
        """Let objects and manifests expire so long after their last use; the URL's `ttl` wins."""
        if self._place.ttl is None:
            self._ttl = seconds

    @_telling
    def get(self, path: str, *, limit: int = MAX_BYTES, touch: bool = False) -> bytes | None:
        pipe = self._pipeline()
        pipe.getrange(self._key(path), 0, limit)
        pipe.exists(self._key(path))
        if touch:
            self._touch(pipe, [path])
        data, there, *_ = answers(pipe)
        found = _document(path, data, limit) if data or checked(there) else None
        if isinstance(found, Damaged):
            raise found
        return found

    @_telling
    def get_many(
        self, paths: Sequence[str], *, limit: int = MAX_BYTES, touch: bool = False
    ) -> list[bytes | Damaged | None]:
        found: list[bytes | Damaged | None] = []
        for start in range(0, len(paths), _MANY):
            found += self._get_some(paths[start : start + _MANY], limit, touch=touch)
        return found

    def _get_some(
        self, paths: Sequence[str], limit: int, *, touch: bool
    ) -> list[bytes | Damaged | None]:
        pipe = self._pipeline()
        for path in paths:
            pipe.getrange(self._key(path), 0, limit)
        if touch:
            self._touch(pipe, paths)
        data = answers(pipe)[: len(paths)]
        there = self._exist([p for p, d in zip(paths, data, strict=True) if d == b""])
        return [
            _document(path, d, limit) if d != b"" or path in there else None
            for path, d in zip(paths, data, strict=True)
        ]

    @_telling
    def put(self, path: str, data: bytes, *, create: bool = False) -> bool:
        times, member = self._times(path)
        pipe = self._pipeline()
        pipe.set(self._key(path), data, nx=create, px=self._expiry(path))
        pipe.zadd(times, {member: self._now()})
        done = bool(checked(answers(pipe)[0]))  # without its time it is there nevertheless
        if next(self._puts) % _PRUNE_EVERY == 0:
            self._prune(path)
        return done

    @_telling
    def stat(self, path: str) -> Entry | None:
        return next(iter(self._entries([path])), None)

    @_telling
    def delete(self, path: str, *, expect: bytes | None = None) -> bool:
        client, key = self._connect(), self._key(path)
        if expect is not None:
            gone = bool(client.eval(RELEASE, 1, key, expect))
        else:
            gone = bool(client.unlink(key))
        if gone:
            client.zrem(*self._times(path))
        return gone

    def list(self, prefix: str) -> Iterator[Entry]:
        # SCAN may show a key twice; a whole path for each would be a lot to remember.
        seen: set[int] = set()
        start = len(self._key(""))
        with telling(self._place):
            for keys in self._scan(prefix):
                new = [key for key in dict.fromkeys(keys) if hash(key) not in seen]
                seen.update(map(hash, new))
                yield from self._entries([key.decode("utf-8", "replace")[start:] for key in new])

    @_telling
    def try_lock(self, name: str) -> Lease | None:
        """Take the lease `v1/leases/<name>.lock`; it is renewed until it is released."""
        return self._leases.take(self._key(f"{layout.LEASES}/{name}.lock"))

    def _connect(self) -> Any:
        if self._client is None:
            with self._connecting:
                if self._client is None:
                    self._client = connect(self._place)
        return self._client

    def _pipeline(self) -> Any:
        return self._connect().pipeline(transaction=False)

    def _key(self, path: str) -> str:
        return f"{self._place.prefix}{path}"

    def _times(self, path: str) -> tuple[str, str]:
        """Return the sorted set that has the time of a document, and its member there."""
        folder, _, name = path.rpartition("/")
        room, shard = ([*folder.split("/"), "", ""])[1:3]
        return f"{self._place.prefix}times:{room}:{shard}", name.removesuffix(".json")

    def _now(self) -> float:
        """Return the time by the clock of the server, which is the same for all machines."""
        if self._ahead is None:
            self._ahead = clock_ahead(self._connect())
        return time.time() + self._ahead

    def _expiry(self, path: str) -> int | None:
        expires = self._ttl is not None and path.startswith(_EXPIRING)
        return max(1, int(self._ttl * 1000)) if expires and self._ttl is not None else None

    def _touch(self, pipe: Any, paths: Iterable[str]) -> None:
        """Mark documents as used now, if they are there and that was not done just before."""
        now, again = time.monotonic(), _TOUCH_AFTER
        if self._ttl is not None:
            again = min(again, self._ttl / 8)
        for path in paths:
            if now - self._touched.get(path, -again) < again:
                continue
            if len(self._touched) >= _TOUCHES:
                self._touched.clear()
            self._touched[path] = now
            times, member = self._times(path)
            pipe.zadd(times, {member: self._now()}, xx=True, gt=True)
            expiry = self._expiry(path)
            if expiry is not None:
                pipe.pexpire(self._key(path), expiry)

    def _exist(self, paths: Sequence[str]) -> set[str]:
        if not paths:
            return set()
        pipe = self._pipeline()
        for path in paths:
            pipe.exists(self._key(path))
        return {path for path, there in zip(paths, answers(pipe), strict=True) if checked(there)}

    def _entries(self, paths: Sequence[str]) -> Iterator[Entry]:
        """Yield size and time of those documents that are there."""
        if not paths:
            return
        pipe = self._pipeline()
        for path in paths:
            pipe.strlen(self._key(path))
            pipe.zscore(*self._times(path))
        found = iter(answers(pipe))
        stated = list(zip(paths, found, found, strict=True))
        there = self._exist([path for path, size, _ in stated if size == 0])
        for path, size, used in stated:
            if is_wrong_type(size):
                continue
            if checked(size) or path in there:
                yield Entry(path, size, used if isinstance(used, float) else self._now())

    def _scan(self, prefix: str) -> Iterator[Any]:
        match = _SPECIAL.sub(rb"\\\g<0>", self._key(f"{prefix}/").encode()) + b"*"
        for node in nodes(self._connect()):
            cursor: Any = None
            while cursor != 0:
                cursor, keys = node.scan(cursor or 0, match=match, count=_SCAN, _type="string")
                yield keys

    def _prune(self, path: str) -> None:
        """Forget the times of documents that expired or were evicted: the oldest are those."""
        times, _ = self._times(path)
        folder, _, name = path.rpartition("/")
        suffix = ".json" if name.endswith(".json") else ""
        client = self._connect()
        oldest = [m.decode() for m in client.zrange(times, 0, 2 * _PRUNE_EVERY - 1)]
        there = self._exist([f"{folder}/{member}{suffix}" for member in oldest])
        gone = [m for m in oldest if f"{folder}/{m}{suffix}" not in there]
        if gone:
            client.zrem(times, *gone)


def _document(path: str, data: Any, limit: int) -> bytes | Damaged:
    if is_wrong_type(data):
        return Damaged("wrong-type", f"{path} is not a string in Redis")
    checked(data)
    if len(data) > limit:
        return Damaged("too-large", f"{path} has more than {limit} bytes")
    return bytes(data)
