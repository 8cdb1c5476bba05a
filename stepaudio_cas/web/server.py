"""The HTTP server: uvicorn in whatever thread it is run in, on a socket that we have bound."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from typing import TYPE_CHECKING, Any, Final

import uvicorn

from stepaudio_cas._fork import survive_fork
from stepaudio_cas.web.feed import ABORT
from stepaudio_cas.web.protocol import Bounded, most_connections

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.types import Message, Receive, Scope, Send

    from stepaudio_cas.web.service import Service

_BACKLOG: Final = 128
_AT_ONCE: Final = 16
"""So many are let in before those are counted that were."""

_LAST: Final = 3
_START: Final = "http.response.start"
_CLOSE: Final = b"connection", b"close"


def bind(address: str) -> socket.socket:
    """Listen at `host:port`. Raises `OSError`."""
    host, _, port = address.rpartition(":")
    found = socket.getaddrinfo(
        host.strip("[]"), int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    family, kind, protocol, _, place = found[0]
    made = socket.socket(family, kind, protocol)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            with contextlib.suppress(OSError, AttributeError):
                made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        made.bind(place)
        made.listen(_BACKLOG)
    except BaseException:
        made.close()
        raise
    return made


def url_of(listening: socket.socket) -> str:
    """Say where it can be reached."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


class Server:
    """Serves until it is told to stop. It says nothing, and leaves signals and `logging` alone.

    A forked child has nothing of it: the parent's sockets are closed there.
    """

    def __init__(self, service: Service, listening: socket.socket) -> None:
        from stepaudio_cas.web.application import make_app  # noqa: PLC0415 - only with uvicorn

        self._service, self._listening = service, listening
        self._pid = os.getpid()
        most = most_connections(inside=service.source.cache is not None)
        config = uvicorn.Config(
            _InTurn(make_app(service), service.turn),
            http=type("Ours", (Bounded,), {"most": most, "owed": staticmethod(service.pace.owed)}),
            backlog=_AT_ONCE,
            loop="none", lifespan="off", log_config=None, access_log=False,
            proxy_headers=False, server_header=False, ws="none",
            timeout_graceful_shutdown=_LAST,
        )  # fmt: skip
        self._server = _Quiet(config)
        survive_fork(self)

    def run(self, ready: Callable[[], None] = lambda: None) -> None:
        """Serve, in the thread that calls; `ready` is called once it can be asked."""
        loop = asyncio.new_event_loop()
        loop.set_exception_handler(lambda *_: None)
        try:
            loop.run_until_complete(self._serve(ready))
        finally:
            loop.run_until_complete(_nobody_left())
            loop.close()

    def stop(self) -> None:
        """Have `run` return soon; to be called in any thread."""
        self._server.should_exit = True

    async def _serve(self, ready: Callable[[], None]) -> None:
        self._service.start()
        self._server.ready = ready
        self._server.ending = self._service.end
        try:
            await self._server.work([self._listening])
        finally:
            await self._service.stop()

    def _after_fork(self) -> None:
        if self._pid == os.getpid():
            return
        _close(self._listening)
        for connection in list(self._server.server_state.connections):
            transport = getattr(connection, "transport", None)
            wrapped = transport.get_extra_info("socket") if transport is not None else None
            _close(getattr(wrapped, "_sock", None))


async def _nobody_left() -> None:
    """Cancel what goes on in this loop, and wait for it."""
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)


class _InTurn:
    """Lets requests in one by one, whatever is asked for, and reads no body that is not wanted.

    It notes how a connection is ended at once; no exception gets to uvicorn, which would log it.
    """

    def __init__(self, app: Any, turn: Callable[[], Awaitable[None]]) -> None:
        self._app, self._turn = app, turn

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        cycle = getattr(send, "__self__", None)
        transport = getattr(cycle, "transport", None)
        if transport is not None:
            scope[ABORT] = transport.abort

        async def closing(message: Message) -> None:
            if message["type"] == _START and getattr(cycle, "more_body", False):
                message = {**message, "headers": [*message["headers"], _CLOSE]}
            await send(message)

        try:
            await self._turn()
            await self._app(scope, receive, closing)
        except (Exception, asyncio.CancelledError):  # cancelled: the server ends
            if transport is None:
                raise
            transport.abort()
            await asyncio.sleep(0)


class _Quiet(uvicorn.Server):
    """Uvicorn without its lines in the host's log."""

    ready: Callable[[], None]
    ending: Callable[[], None]

    async def work(self, sockets: list[socket.socket]) -> None:
        self.config.load()
        self.lifespan: Any = self.config.lifespan_class(self.config)
        await self.startup(sockets)
        for one in sockets:
            one.listen(_BACKLOG)
        if self.should_exit:
            return
        self.ready()
        await self.main_loop()
        self.ending()
        await self.shutdown(sockets)

    def _log_started_message(self, listeners: Any) -> None:
        """Say nothing: whoever bound the socket has."""


def _close(one: socket.socket | None) -> None:
    """Close a socket for good, so that nobody closes its number once more."""
    if one is None:
        return
    with contextlib.suppress(OSError):
        number = one.detach()
        if number >= 0:
            os.close(number)
