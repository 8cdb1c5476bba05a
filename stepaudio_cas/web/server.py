"""The HTTP server: uvicorn in whatever thread it is run in, on a socket that we have bound."""

from __future__ import annotations

import asyncio
import contextlib
import errno
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
_LONGEST: Final = 1.0
"""Seconds that nobody is let in at the most; the system keeps whoever comes meanwhile."""

_AGAIN: Final = 0.1
_LAST: Final = 3
_START: Final = "http.response.start"
_CLOSE: Final = b"connection", b"close"


def bind(address: str) -> socket.socket:
    """Listen at `host:port`. Raises `OSError`."""
    host, _, port = address.rpartition(":")
    name, how = host.strip("[]"), socket.AI_PASSIVE
    try:
        found = socket.getaddrinfo(name, int(port), type=socket.SOCK_STREAM, flags=how)
    except UnicodeError:
        raise OSError(errno.EINVAL, "there can be no host of this name") from None
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
    """Say where it can be reached: from here, if from everywhere."""
    host, port = listening.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - it is bound
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
            _InTurn(make_app(service), service.turn, most),
            http=type("Ours", (Bounded,), {"most": most, "owed": staticmethod(service.pace.owed)}),
            loop="none", lifespan="off", log_config=None,
            proxy_headers=False, server_header=False, ws="none",
        )  # fmt: skip
        self._server = _Quiet(config)
        self._server.owed = service.pace.owed
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
            await self._server.work(self._listening)
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

    No more than `most` wait, as many of them as have gone meanwhile. It notes how a connection is
    ended at once; no exception gets to uvicorn, which would log it.
    """

    def __init__(self, app: Any, turn: Callable[[], Awaitable[None]], most: int) -> None:
        self._app, self._turn, self._most = app, turn, most
        self._waiting = 0

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
            if await self._in_turn() and not getattr(cycle, "disconnected", False):
                await self._app(scope, receive, closing)
            elif transport is not None:
                transport.abort()
                await asyncio.sleep(0)
        except (Exception, asyncio.CancelledError):  # cancelled: the server ends
            if transport is None:
                raise
            transport.abort()
            await asyncio.sleep(0)

    async def _in_turn(self) -> bool:
        if self._waiting >= self._most:
            return False
        self._waiting += 1
        try:
            await self._turn()
        finally:
            self._waiting -= 1
        return True


class _Quiet(uvicorn.Server):
    """Uvicorn without its lines in the host's log."""

    ready: Callable[[], None]
    ending: Callable[[], None]
    owed: Callable[[], float]

    async def work(self, listening: socket.socket) -> None:
        self.config.load()
        letting_in = asyncio.ensure_future(self._let_in(listening))
        try:
            self.ready()
            await self.main_loop()
        finally:
            letting_in.cancel()
        self.ending()
        await self._end()

    async def _let_in(self, listening: socket.socket) -> None:
        """Let clients in one by one, and rest between them: each costs time, whatever it sends."""
        loop = asyncio.get_running_loop()
        listening.setblocking(False)
        while True:
            try:
                line, _ = await loop.sock_accept(listening)
                await loop.connect_accepted_socket(self._protocol, line)
            except OSError:  # it has gone already, or this process has no number for it
                await asyncio.sleep(_AGAIN)
            seconds = self.owed()
            if seconds > 0:
                await asyncio.sleep(min(seconds, _LONGEST))

    def _protocol(self) -> asyncio.Protocol:
        return self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config, server_state=self.server_state, app_state={}
        )

    async def _end(self) -> None:
        """Let those finish who are soon done, and cut the others off."""
        connections = self.server_state.connections
        for connection in list(connections):
            connection.shutdown()
        for _ in range(_LAST * 10):
            if not connections:
                return
            await asyncio.sleep(0.1)
        for connection in list(connections):
            connection.transport.abort()
        await asyncio.sleep(0)


def _close(one: socket.socket | None) -> None:
    """Close a socket for good, so that nobody closes its number once more."""
    if one is None:
        return
    with contextlib.suppress(OSError):
        number = one.detach()
        if number >= 0:
            os.close(number)
