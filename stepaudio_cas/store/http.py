"""HTTP to one place: connections that are kept, bounded answers, failures with a name.

On the standard library alone, because that survives `fork`: client libraries with threads or event
loops of their own hang in a forked child, and what a host forks is not ours to choose.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import ssl
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import unquote, urlsplit

from stepaudio_cas._fork import survive_fork
from stepaudio_cas.errors import Unavailable
from stepaudio_cas.store.backend import MAX_BYTES
from stepaudio_cas.store.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Mapping

CONNECT_SECONDS: Final = 5.0
ANSWER_SECONDS: Final = 20.0
"""A worker that waits longer for a server that hangs is of no use to anybody: callers are gone."""

_IDLE_SECONDS: Final = 10.0
_MOST_IDLE: Final = 64


class Answer(NamedTuple):
    """What a server has said. `repeated`: it may have heard the same request before."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    repeated: bool = False


class _Request(NamedTuple):
    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    limit: int


class Client:
    """Speaks to the origin of `base` (`https://host:port`), from any thread, and after a fork."""

    def __init__(self, base: str, *, ca_file: str | None = None) -> None:
        self._idle = deque[tuple[float, Wire]]()
        parts = urlsplit(base)
        try:
            port = parts.port
        except ValueError:
            port = -1
        if parts.scheme not in {"http", "https"} or not parts.hostname or port == -1:
            raise ValueError(f"{base!r} is no address of a server, such as https://host:9000")
        self.secure: bool = parts.scheme == "https"
        self._host: str = parts.hostname
        self._port: int = port or (443 if self.secure else 80)
        name = f"[{self._host}]" if ":" in self._host else self._host
        usual = port is None or port == (443 if self.secure else 80)
        self.authority = name if usual else f"{name}:{port}"
        self._ca_file = ca_file
        self._context: ssl.SSLContext | None = None
        self._proxy = _proxy(parts.scheme, self._host)
        survive_fork(self)

    def _after_fork(self) -> None:
        self.close()  # these are the parent's, who keeps his ends of them

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connections that nobody uses now."""
        idle = self._idle
        self._idle = deque[tuple[float, Wire]]()
        for _, connection in idle:
            connection.close()

    def request(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes = b"",
        *,
        limit: int = MAX_BYTES,
    ) -> Answer:
        """Ask once, or twice if a connection that was kept turns out to have been closed.

        Raises `Unavailable` where there is no answer, and `Damaged` for a good one longer than
        `limit`, without reading it.
        """
        request = _Request(method, target, headers, body, limit)
        kept = self._kept()
        try:
            if kept is not None:
                with contextlib.suppress(ConnectionError, http.client.HTTPException, ssl.SSLError):
                    return self._exchange(kept, request)
            answer = self._exchange(self._connect(), request)
        except (OSError, http.client.HTTPException) as error:
            raise self._unavailable(error) from error
        return answer._replace(repeated=kept is not None)

    def _kept(self) -> Wire | None:
        try:
            since, connection = self._idle.pop()
        except IndexError:
            return None
        if since > time.monotonic() - _IDLE_SECONDS:
            return connection
        connection.close()
        self.close()  # the others have waited for longer
        return None

    def _exchange(self, wire: Wire, request: _Request) -> Answer:
        method, target, headers, body, limit = request
        headers = {"host": self.authority, **headers}
        if self._proxy and not self.secure:
            target = f"http://{self.authority}{target}"
            headers |= _proxy_authorization(self._proxy)
        try:
            return Answer(*wire.exchange(method, target, headers, body, limit))
        finally:
            if wire.reusable and len(self._idle) < _MOST_IDLE:
                self._idle.append((time.monotonic(), wire))
            else:
                wire.close()

    def _connect(self) -> Wire:
        host, port = self._host, self._port
        if self._proxy:
            parts = urlsplit(self._proxy)
            host, port = parts.hostname or "", parts.port or 80
        connection: http.client.HTTPConnection
        if self.secure:
            connection = http.client.HTTPSConnection(
                host, port, timeout=CONNECT_SECONDS, context=self._tls()
            )
            if self._proxy:
                connection.set_tunnel(self._host, self._port, _proxy_authorization(self._proxy))
        else:
            connection = http.client.HTTPConnection(host, port, timeout=CONNECT_SECONDS)
        connection.connect()
        connection.sock.settimeout(ANSWER_SECONDS)
        return Wire(connection)

    def _tls(self) -> ssl.SSLContext:
        if self._context is None:
            self._context = ssl.create_default_context(cafile=self._ca_file or _authorities())
        return self._context

    def _unavailable(self, error: Exception) -> Unavailable:
        """Name the failure, in one line."""
        at, text = self.authority, " ".join(str(error).split())
        if isinstance(error, socket.gaierror):
            return Unavailable("dns", f"the name {self._host} is not known ({text})")
        if isinstance(error, ssl.SSLError):
            reason = getattr(error, "verify_message", "") or error.reason or text
            return Unavailable("tls", f"no secure connection to {at}: {reason}")
        if isinstance(error, TimeoutError):
            return Unavailable("timeout", f"{at} does not answer")
        if isinstance(error, ConnectionRefusedError):
            return Unavailable("down", f"{at} refuses connections")
        return Unavailable("down", f"{at}: {text or type(error).__name__}")


def _authorities() -> str | None:
    """Return certifi's file where the machine itself has no certificates, as in slim images."""
    paths = ssl.get_default_verify_paths()
    if paths.cafile or (paths.capath and os.path.isdir(paths.capath) and os.listdir(paths.capath)):
        return None
    try:
        import certifi  # noqa: PLC0415
    except ImportError:
        return None
    return str(certifi.where())


def _proxy(scheme: str, host: str) -> str:
    """Return the proxy that the environment names for this host."""
    if not any(name.lower().endswith("_proxy") and value for name, value in os.environ.items()):
        return ""
    import urllib.request  # noqa: PLC0415 - takes a while, and few have a proxy

    if urllib.request.proxy_bypass(host):
        return ""
    proxies = urllib.request.getproxies()
    proxy = proxies.get(scheme) or proxies.get("all") or ""
    return proxy if not proxy or "://" in proxy else f"http://{proxy}"


def _proxy_authorization(proxy: str) -> dict[str, str]:
    parts = urlsplit(proxy)
    if not parts.username:
        return {}
    from base64 import b64encode  # noqa: PLC0415

    who = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return {"proxy-authorization": f"Basic {b64encode(who.encode()).decode()}"}


def json_of(body: bytes) -> Any:
    """Read a small JSON answer; an empty dictionary if it is something else."""
    import json  # noqa: PLC0415

    try:
        found = json.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
