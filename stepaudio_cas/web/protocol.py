"""What a connection may cost whoever lives in this process: file numbers, lines on stderr, time."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

MOST: Final = 512
PATIENCE: Final = 10.0
"""Seconds that a client has for all that comes before a body."""

LEAST: Final = 8 << 10
"""Bytes of an answer that a client has to take in each such time."""

_UNKNOWN: Final = 1024
_SILENT: Final = logging.Logger("stepaudio_cas.web")  # noqa: LOG001 - the host never sees it
_SILENT.disabled = True


def most_connections(*, inside: bool) -> int:
    """Return how many may be open: the most of the file numbers here are for a host, if any."""
    try:
        import resource  # noqa: PLC0415 - not everywhere

        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        soft = MOST * 8 if soft == resource.RLIM_INFINITY else soft
    except (ImportError, OSError):
        soft = _UNKNOWN
    return max(min(MOST, soft // (8 if inside else 2)), 1)


class Bounded(H11Protocol):
    """One connection of so many; it logs nothing.

    It is closed if no request comes of it, and if an answer is not read.
    """

    most = MOST
    owed: Callable[[], float] = staticmethod(float)
    """How many seconds the loop has to rest."""

    def __init__(self, *words: Any, **how: Any) -> None:
        super().__init__(*words, **how)
        self.logger = _SILENT
        self.access_log = False
        self._late: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin, or end at once what is one too many."""
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=0)
        if len(self.connections) > self.most:
            transport.abort()
        else:
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self._wait_no_more()
        self._read()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what came; a head that goes on and on is not waited for any longer than before."""
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE or self.transport.is_closing():
            self._wait_no_more()
        elif self._late is None:
            self._wait()

    def pause_writing(self) -> None:
        """Begin to wait for a client to read."""
        super().pause_writing()
        if self._unread is None:
            self._watch()

    def resume_writing(self) -> None:
        """Go on: it has read everything."""
        self._read()
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no request, in its time: it has no turn."""
        self.transport.pause_reading()
        self.loop.call_later(min(self.owed(), PATIENCE), self._refuse, msg)

    def _refuse(self, msg: str) -> None:
        if self.transport.is_closing():
            return
        try:
            super().send_400_response(msg)
        except h11.LocalProtocolError:  # an answer is on its way already
            self.transport.abort()

    def _wait(self) -> None:
        self._late = self.loop.call_later(PATIENCE, self.transport.abort)

    def _wait_no_more(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _watch(self) -> None:
        left = self.transport.get_write_buffer_size()
        self._unread = self.loop.call_later(PATIENCE, self._look, left)

    def _look(self, before: int) -> None:
        if self.transport.get_write_buffer_size() > before - LEAST:
            self.transport.abort()
        else:
            self._watch()

    def _read(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None
