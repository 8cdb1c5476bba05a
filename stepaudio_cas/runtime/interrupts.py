"""Exceptions that are the host's although they were raised in the middle of our work."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import CodeType


def interrupt_in(error: BaseException) -> BaseException | None:
    """Return what a signal handler of the host has raised, if that is behind `error`.

    A host that limits a call by `signal.alarm` raises in its handler, wherever we are at that
    moment. What we have made of it since is undone by raising what this returns.
    """
    if threading.current_thread() is not threading.main_thread():
        return None  # handlers run nowhere else
    handlers = set(_codes_of_handlers())
    seen: BaseException | None = error
    while seen is not None:
        trace = seen.__traceback__
        while trace is not None:
            if trace.tb_frame.f_code in handlers:
                return seen
            trace = trace.tb_next
        seen = seen.__context__
    return None


def reraise_interrupt(error: BaseException) -> None:
    """Raise what a signal handler of the host has raised, if that is behind `error`."""
    interrupt = interrupt_in(error)
    if interrupt is not None:
        raise interrupt


def _codes_of_handlers() -> Iterator[CodeType]:
    for number in signal.valid_signals():
        handler: Any = signal.getsignal(number)
        if callable(handler):
            handler = getattr(handler, "func", handler)  # of a partial
            for function in (handler, type(handler).__call__):
                code = getattr(function, "__code__", None)
                if code is not None:
                    yield code
