"""Noticing that a server which is not ours is to end: it would wait for streams that never do."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from starlette.types import Receive

LOOK: Final = 0.5
"""Seconds between two looks."""


class Ending:
    """Uvicorn tells an application nothing until all answers are complete, so we look ourselves.

    It keeps no connection any more once it has been told to end, and whoever tells it by a signal
    tells a method of its. Where neither can be seen, streams go on until their clients leave.
    """

    def __init__(self, receive: Receive) -> None:
        cycle = getattr(receive, "__self__", None)
        self._cycle = cycle if getattr(cycle, "keep_alive", None) is True else None

    def __bool__(self) -> bool:
        if self._cycle is not None and self._cycle.keep_alive is False:
            return True
        handlers = (signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT))
        servers = (getattr(handler, "__self__", None) for handler in handlers)
        return any(getattr(server, "should_exit", False) is True for server in servers)
