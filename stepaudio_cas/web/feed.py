"""Events for whoever listens: numbered, the last of them kept, and nobody waits for the slowest."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from starlette.responses import Response

from stepaudio_cas.web.answers import as_json
from stepaudio_cas.web.ending import LOOK, Ending
from stepaudio_cas.web.errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.types import Receive, Scope, Send

MOST_CLIENTS: Final = 64
KEPT: Final = 1000
BEAT: Final = 15.0
SLOW: Final = 10.0
"""A client that takes nothing for so many seconds is dropped."""

_QUEUE: Final = 64
ABORT: Final = "stepaudio_cas.abort"
"""In a scope: what ends the connection at once, where the server is ours."""

_STREAM: Final = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


class Feed:
    """What has happened, in order. Everything here runs in one event loop."""

    def __init__(self) -> None:
        self.boot = os.urandom(4).hex()
        self._number = 0
        self._recent: deque[tuple[int, bytes]] = deque(maxlen=KEPT)
        self._clients: set[asyncio.Queue[bytes | None]] = set()

    @property
    def clients(self) -> int:
        """How many listen."""
        return len(self._clients)

    def publish(self, events: Sequence[tuple[str, Any]]) -> None:
        """Tell everybody. A client whose queue is full is dropped: it has stopped reading."""
        if not events:
            return
        chunks = []
        for kind, document in events:
            self._number += 1
            data = as_json(document).decode()
            chunk = f"id: {self.boot}.{self._number}\nevent: {kind}\ndata: {data}\n\n".encode()
            self._recent.append((self._number, chunk))
            chunks.append(chunk)
        for queue in list(self._clients):
            _put(queue, b"".join(chunks))

    def end(self) -> None:
        """Let all clients go."""
        for queue in list(self._clients):
            with contextlib.suppress(asyncio.QueueEmpty):
                while queue.full():
                    queue.get_nowait()
            queue.put_nowait(None)

    def since(self, last: str) -> bytes:
        """Return what came after an event, as far as it is kept, and how much is not."""
        boot, _, number = last.partition(".")
        if not last:
            return b""
        known = boot == self.boot and number.isdecimal() and len(number) < 16
        after = int(number) if known else self._number
        kept = [chunk for at, chunk in self._recent if at > after]
        missing = max(self._number - after, 0) - len(kept)
        if known and not missing:
            return b"".join(kept)
        said = as_json({"time": time.time(), "number": missing if known else None}).decode()
        return f"event: skipped\ndata: {said}\n\n".encode() + b"".join(kept)

    def stream(self, last: str) -> EventStream:
        """Return an answer that goes on. Raises `ApiError` if there are too many."""
        if len(self._clients) >= MOST_CLIENTS:
            raise ApiError(
                429, f"{MOST_CLIENTS} clients listen already", "close one", {"Retry-After": "30"}
            )
        queue: asyncio.Queue[bytes | None] = asyncio.Queue(_QUEUE)
        self._clients.add(queue)
        queue.put_nowait(b"retry: 2000\n\n" + self.since(last))
        return EventStream(self._clients, queue)


def _put(queue: asyncio.Queue[bytes | None], chunk: bytes) -> None:
    try:
        queue.put_nowait(chunk)
    except asyncio.QueueFull:
        return  # whoever reads it is stuck in a write, which gives up soon


class EventStream(Response):
    """One client: it ends when the client goes, or is too slow."""

    def __init__(
        self, clients: set[asyncio.Queue[bytes | None]], queue: asyncio.Queue[bytes | None]
    ) -> None:
        super().__init__(None, headers=_STREAM, media_type="text/event-stream")
        del self.headers["content-length"]
        self._clients, self._queue = clients, queue

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Write until there is nobody to read."""
        gone = asyncio.ensure_future(_disconnected(receive))
        ending = None if ABORT in scope else Ending(receive)
        try:
            start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
            await _sent(send(start))
            while (chunk := await self._next(gone, ending)) is not None:
                await _sent(send({"type": "http.response.body", "body": chunk, "more_body": True}))
            await _sent(send({"type": "http.response.body", "body": b"", "more_body": False}))
        except (asyncio.TimeoutError, OSError):
            scope.get(ABORT, lambda: None)()
            await asyncio.sleep(0)
        finally:
            gone.cancel()
            self._clients.discard(self._queue)

    async def _next(self, gone: asyncio.Future[None], ending: Ending | None) -> bytes | None:
        """Wait for what is to be written; a beat shows that the line still stands."""
        if gone.done():
            return None
        wanted: asyncio.Future[Any] = asyncio.ensure_future(self._queue.get())
        until, most = time.monotonic() + BEAT, BEAT if ending is None else LOOK
        try:
            while (left := until - time.monotonic()) > 0:
                one = asyncio.FIRST_COMPLETED
                await asyncio.wait([wanted, gone], timeout=min(left, most), return_when=one)
                if wanted.done():
                    return wanted.result()  # type: ignore[no-any-return]
                if gone.done() or ending:
                    return None
            return b": beat\n\n"
        finally:
            wanted.cancel()


async def _disconnected(receive: Receive) -> None:
    """Return when a client has gone, or sends what nobody has asked for."""
    while (message := await receive())["type"] != "http.disconnect" and not message.get("body"):
        pass


async def _sent(writing: Any) -> None:
    await asyncio.wait_for(writing, SLOW)
