"""What a Redis URL says: which servers, how to reach them, and which keys are ours."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

from stepaudio_cas.errors import SettingError
from stepaudio_cas.units import parse_seconds

if TYPE_CHECKING:
    from collections.abc import Callable

SCHEMES: Final = frozenset(
    f"{scheme}{kind}" for scheme in ("redis", "rediss") for kind in ("", "+sentinel", "+cluster")
)
PREFIX: Final = "stepaudio-cas:"
TIMEOUT: Final = 0.5
"""Seconds for one answer: less than a call waits, so that no thread is stuck behind a dead host."""

_CONNECTIONS: Final = 64
_PORTS: Final = {"": 6379, "cluster": 6379, "sentinel": 26379}


@dataclass(frozen=True)
class Place:
    """One Redis: `kind` is "" for a single server, `sentinel` or `cluster`.

    `connection` are arguments for every connection, `shown` is the URL without its secrets.
    """

    kind: str
    hosts: tuple[tuple[str, int], ...]
    shown: str
    db: int = 0
    master: str = ""
    prefix: str = PREFIX
    ttl: float | None = None
    timeout: float = TIMEOUT
    pool: int = _CONNECTIONS
    tls: bool = False
    connection: dict[str, Any] = field(default_factory=dict, repr=False)
    sentinel: dict[str, Any] = field(default_factory=dict, repr=False)


def parse_place(url: str) -> Place:
    """Read a Redis URL; raise `SettingError`, without the password in it, if it makes no sense.

    `redis://[user:password@]host[:port][/db]`, `redis+cluster://host:port,host:port` or
    `redis+sentinel://host:port,host:port/master[/db]`; `rediss` in place of `redis` for TLS.
    """
    scheme, _, rest = url.partition("://")
    _, at, after = rest.rpartition("@")
    shown = f"{scheme}://{after if at else rest}"
    try:
        return _parse(scheme, url, shown)
    except ValueError as error:
        raise SettingError(f"{_without_query_secrets(shown)}: {error}") from None


def _parse(scheme: str, url: str, shown: str) -> Place:
    if scheme not in SCHEMES:
        raise ValueError(f"no such kind of Redis; there are {', '.join(sorted(SCHEMES))}")
    parts = urlsplit(url)
    base, _, kind = scheme.partition("+")
    userinfo, _, hosts = parts.netloc.rpartition("@")
    user, _, password = userinfo.partition(":")
    connection: dict[str, Any] = {}
    if user:
        connection["username"] = unquote(user)
    if password:
        connection["password"] = unquote(password)
    values, tls, sentinel = _query(parts.query, base, kind)
    connection.update(tls)
    segments = [unquote(part) for part in parts.path.split("/") if part]
    if kind == "sentinel":
        if not segments:
            raise ValueError("names no master: redis+sentinel://host:port,host:port/master/db")
        values["master"] = segments.pop(0)
    if segments:
        values["db"] = _database(segments, kind)
    return Place(
        kind=kind,
        hosts=tuple(_host(item, _PORTS[kind]) for item in hosts.split(",")),
        shown=_without_query_secrets(shown),
        tls=base == "rediss",
        connection=connection,
        sentinel=sentinel,
        **values,
    )


def _query(
    query: str, base: str, kind: str
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Read options: those of the place, of TLS, and of connections to Sentinel."""
    values: dict[str, Any] = {}
    tls: dict[str, Any] = {}
    sentinel: dict[str, Any] = {}
    for name, text in parse_qsl(query, keep_blank_values=True):
        if name in _OPTIONS:
            values[name] = _read(name, text, _OPTIONS[name])
        elif name in _TLS and base == "rediss":
            tls[name] = _read(name, text, _TLS[name])
        elif name in _SENTINEL and kind == "sentinel":
            sentinel[name.removeprefix("sentinel_")] = text
        else:
            raise ValueError(f"no option {name!r}; there are {', '.join(_known(base, kind))}")
    return values, tls, sentinel


def _known(base: str, kind: str) -> list[str]:
    tls = list(_TLS) if base == "rediss" else []
    return [*_OPTIONS, *tls, *(_SENTINEL if kind == "sentinel" else [])]


def _without_query_secrets(shown: str) -> str:
    head, mark, query = shown.partition("?")
    kept = "&".join(item for item in query.split("&") if not item.startswith("sentinel_"))
    return f"{head}{mark if kept else ''}{kept}"


def _host(text: str, port: int) -> tuple[str, int]:
    host, colon, number = text.rpartition(":")
    if not colon or text.endswith("]"):
        host, number = text, str(port)
    if not host or not number.isdigit() or not 0 < int(number) < 65536:
        raise ValueError(f"{text!r} is no host:port")
    return host.strip("[]"), int(number)


def _database(segments: list[str], kind: str) -> int:
    if len(segments) > 1 or not segments[0].isdigit():
        raise ValueError(f"{'/'.join(segments)!r} is no number of a database")
    if kind == "cluster" and segments[0] != "0":
        raise ValueError("a cluster has database 0 only")
    return int(segments[0])


def _read(name: str, text: str, reader: Callable[[str], Any]) -> Any:
    try:
        return reader(text)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def _seconds(text: str) -> float:
    seconds = parse_seconds(text)
    if seconds < 0.001:
        raise ValueError(f"{text!r} is too short")
    return seconds


def _number(text: str) -> int:
    if not text.isdigit() or not 0 < int(text) < 10_000:
        raise ValueError(f"{text!r} is no number of connections")
    return int(text)


def _requirement(text: str) -> str:
    if text not in {"required", "none"}:
        raise ValueError(f"{text!r} is not one of required, none")
    return text


_OPTIONS: Final[dict[str, Callable[[str], Any]]] = {
    "prefix": str, "ttl": _seconds, "timeout": _seconds, "pool": _number,
}  # fmt: skip
_TLS: Final[dict[str, Callable[[str], Any]]] = {
    "ssl_ca_certs": str, "ssl_certfile": str, "ssl_keyfile": str, "ssl_cert_reqs": _requirement,
}  # fmt: skip
_SENTINEL: Final = ("sentinel_username", "sentinel_password")
