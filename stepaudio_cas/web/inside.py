"""`STEPAUDIO_CAS_HTTP`: the server in the host's own process, in a thread of its own.

The host never waits for it and never fails because of it: a port that is taken, a library that is
missing are one line on stderr.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from typing import TYPE_CHECKING, Final

from stepaudio_cas._fork import survive_fork

if TYPE_CHECKING:
    import socket

    from stepaudio_cas.runtime.cache import Cache
    from stepaudio_cas.settings import Settings
    from stepaudio_cas.web.observer import Observer
    from stepaudio_cas.web.server import Server
    from stepaudio_cas.web.tokens import Tokens

SETTLE: Final = 0.5
"""Seconds until we import anything: the host is in the middle of its own imports."""

AGAIN: Final = 30.0
"""Seconds until a port that another process has is tried once more."""

_NICE: Final = 5
_VARIABLE: Final = "STEPAUDIO_CAS_HTTP"


class Inside:
    """Serves what a cache does. Only the process that began it does; a forked child is silent."""

    def __init__(self, cache: Cache, settings: Settings, *, settle: float = SETTLE) -> None:
        self._cache, self._settings, self._settle = cache, settings, settle
        self._stop = threading.Event()
        self._server: Server | None = None
        self._observer: Observer | None = None
        self.ready = threading.Event()
        self.url = ""
        self._thread: threading.Thread | None = None
        survive_fork(self)

    def start(self) -> None:
        """Begin."""
        thread = threading.Thread(target=self._run, name="stepaudio-cas http", daemon=True)
        with contextlib.suppress(RuntimeError):  # no thread to be had
            thread.start()
            self._thread = thread

    def stop(self) -> None:
        """End it."""
        self._stop.set()
        server, thread = self._server, self._thread
        if server is not None:
            server.stop()
        if thread is not None:
            thread.join(10.0)

    def _after_fork(self) -> None:
        self._stop.set()
        self._thread = self._server = None
        if self._observer is not None:
            self._cache.recorder.dismiss(self._observer)

    def _say(self, text: str) -> None:
        self._cache.recorder.log.error(f"{_VARIABLE}: {text}")

    def _run(self) -> None:
        if self._stop.wait(self._settle):
            return
        with contextlib.suppress(OSError, AttributeError):  # a thread has its own, on Linux
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
        try:
            listening = self._bound()
            if listening is not None:
                self._serve(listening)
        except ImportError as error:
            self._say(f"{error.name or error} is missing: pip install 'stepaudio-cas[http]'")
        except BaseException as error:  # whatever it is, the host goes on
            self._say(f"the server ended: {type(error).__name__}: {error}")

    def _bound(self) -> socket.socket | None:
        """Listen, at once or when another process has let go; None if that cannot be."""
        from stepaudio_cas.web.server import bind  # noqa: PLC0415 - heavy

        address, told = self._settings.http, False
        while not self._stop.is_set():
            try:
                return bind(address)
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    self._say(f"{address} cannot be had: {error.strerror or error}")
                    return None
                if not told:
                    self._say(
                        f"{address} is taken, perhaps by another worker of this host, which then"
                        " tells of this one, too; tried again now and then"
                    )
                told = True
            self._stop.wait(AGAIN)
        return None

    def _serve(self, listening: socket.socket) -> None:
        from stepaudio_cas.web.observer import Observer  # noqa: PLC0415 - heavy
        from stepaudio_cas.web.pace import SHARE, Pace  # noqa: PLC0415
        from stepaudio_cas.web.server import Server, url_of  # noqa: PLC0415
        from stepaudio_cas.web.service import Service  # noqa: PLC0415
        from stepaudio_cas.web.source import of_cache  # noqa: PLC0415
        from stepaudio_cas.web.tokens import Tokens  # noqa: PLC0415

        tokens, observer = Tokens(self._settings.http_token_file), Observer()
        source = of_cache(self._cache, self._settings, observer)
        server = Server(Service(source, tokens, pace=Pace(SHARE)), listening)
        self._server, self._observer, self.url = server, observer, url_of(listening)
        self._cache.recorder.listen(observer)
        try:
            if not self._stop.is_set():
                server.run(lambda: self._serving(tokens))
        finally:
            self._cache.recorder.dismiss(observer)
            listening.close()

    def _serving(self, tokens: Tokens) -> None:
        how = "; other users of this machine can read its token" if tokens.seen_by_others else ""
        trouble = " is not set" if tokens.path is None else ""
        try:
            tokens.check()
        except ValueError as error:
            trouble = f": {error}"
        if trouble:
            how = f"; nothing can be changed: STEPAUDIO_CAS_HTTP_TOKEN_FILE{trouble}"
        self._cache.recorder.log.error(f"{_VARIABLE}: {self.url} is served by {os.getpid()}{how}")
        self.ready.set()
