"""The real servers of a run, each behind a wire, and what can be done to them."""

from __future__ import annotations

import contextlib
import os
import shutil
from typing import TYPE_CHECKING, Any, ClassVar, Final

from tests.support.gcs import FakeGcs
from tests.support.redis_server import RedisServer
from tests.support.seaweedfs import WRITER, SeaweedFS
from tools.chaos.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.servers import Server

SLOW: Final = 0.2
LOSSY: Final = 0.5
BUCKET: Final = "voices"


class Place:
    """A server, the wire to it, and its faults: each begins, lasts, and is mended."""

    name: ClassVar[str]

    def __init__(self, server: Server, port: int, seed: int) -> None:
        self.server = server
        self.wire = Wire(port, f"{seed} {self.name}")
        self.faults: dict[str, tuple[Callable[[], None], Callable[[], None]]] = {
            "killed": (self._kill, self._start),
            "restarted": (self._kill, self._start),
            "hung": (server.freeze, server.thaw),
            "emptied": (self._empty, self._nothing),
            "slow": (lambda: self._disturb(delay=SLOW), self.wire.calm),
            "lossy": (lambda: self._disturb(loss=LOSSY), self.wire.calm),
        }

    @property
    def url(self) -> str:
        """The store as the fleet names it."""
        raise NotImplementedError

    def environment(self, *, direct: bool = False) -> dict[str, str]:
        """Return the variables by which it is found: through the wire, or past it."""
        raise NotImplementedError

    def direct_url(self) -> str:
        """The store for who looks past the wire."""
        return self.url

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.server.thaw()
        self.wire.close()
        self.server.close()

    def _kill(self) -> None:
        self.wire.refuse()
        self.server.kill()

    def _start(self) -> None:
        self.server.start()
        self.wire.accept()

    def _empty(self) -> None:
        """Lose the disk with everything on it, and come back with another one."""
        self._kill()
        data = self.server.folder / "data"
        shutil.rmtree(data)
        data.mkdir()
        self.server.start()
        self.server.make_bucket(BUCKET)
        self.wire.accept()

    def _nothing(self) -> None:
        """Mended already."""

    def _disturb(self, *, delay: float = 0.0, loss: float = 0.0) -> None:
        self.wire.delay, self.wire.loss = delay, loss


class S3(Place):
    name = "s3"
    url = f"s3://{BUCKET}/store"

    def __init__(self, seed: int) -> None:
        server = SeaweedFS()
        server.start().make_bucket(BUCKET)
        super().__init__(server, server.ports[3], seed)

    def environment(self, *, direct: bool = False) -> dict[str, str]:
        port = self.server.ports[3] if direct else self.wire.port
        return {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "AWS_ACCESS_KEY_ID": WRITER.access,
            "AWS_SECRET_ACCESS_KEY": WRITER.secret,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }


class Gcs(Place):
    name = "gs"
    url = f"gs://{BUCKET}/store"

    def __init__(self, seed: int) -> None:
        server = FakeGcs()
        server.start().make_bucket(BUCKET)
        super().__init__(server, server.port, seed)

    def environment(self, *, direct: bool = False) -> dict[str, str]:
        port = self.server.port if direct else self.wire.port
        return {"STORAGE_EMULATOR_HOST": f"http://127.0.0.1:{port}"}


class Redis(Place):
    """Redis can also be full, or push out what it has; it keeps the rest when it is killed."""

    name = "redis"

    def __init__(self, seed: int) -> None:
        server = RedisServer()
        server.start()
        super().__init__(server, server.port, seed)
        self.faults["full"] = (
            lambda: self._configure("1mb", "noeviction"),
            lambda: self._configure("0", "noeviction"),
        )
        self.faults["evicting"] = (
            lambda: self._configure("3mb", "allkeys-random"),
            lambda: self._configure("0", "noeviction"),
        )

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.wire.port}/0?prefix=chaos"

    def direct_url(self) -> str:
        return f"redis://127.0.0.1:{self.server.port}/0?prefix=chaos"

    def environment(self, *, direct: bool = False) -> dict[str, str]:
        del direct
        return {}

    def _configure(self, memory: str, policy: str) -> None:
        self.server.ask("CONFIG", "SET", "maxmemory-policy", policy)
        self.server.ask("CONFIG", "SET", "maxmemory", memory)

    def _empty(self) -> None:
        self.server.ask("FLUSHALL")


PLACES: Final[dict[str, type[Any]]] = {kind.name: kind for kind in (Redis, S3, Gcs)}


@contextlib.contextmanager
def opened(names: list[str], seed: int) -> Iterator[list[Place]]:
    """Start the servers, and end them whatever happens."""
    places: list[Place] = []
    try:
        places.extend(PLACES[name](seed) for name in names)
        yield places
    finally:
        for place in places:
            place.close()
