"""Who may ask for what: addresses, tokens, browsers of strangers, the size of what is sent.

Reading is open to this machine alone; anything else, and every change, needs a token. There are no
cookies, so a page of somebody else's can make a browser send nothing that we would obey; and it
can read nothing, because the name it was loaded from is not ours.
"""

from __future__ import annotations

import asyncio
import ipaddress
import time
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from stepaudio_cas.web.errors import ApiError

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection
    from starlette.types import Message, Receive

    from stepaudio_cas.web.tokens import Tokens

LARGEST_BODY: Final = 64 << 10

GRACE: Final = 30.0
"""Seconds that somebody may take to send a body, and for a large one:"""

SLOWEST: Final = 32 << 10
"""one more for each so many bytes that have come."""

HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
        " media-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none';"
        " frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}
"""What every answer carries."""

_FORWARDED: Final = frozenset({"forwarded", "x-real-ip", "true-client-ip", "via"})
_FORWARDED_ALL: Final = ("x-forwarded-", "cf-")
_PORTS: Final = {"http": 80, "https": 443}
_CHALLENGE: Final = {"WWW-Authenticate": 'Bearer realm="stepaudio-cas"'}


class Guard:
    """Decides over each request before anything of it is looked at."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens

    def check(self, request: HTTPConnection, *, writing: bool, page: bool = False) -> None:
        """Raise `ApiError` if this may not be.

        A `page` holds nothing of a store, and is loaded by whoever is then to give it the token.
        """
        _refuse_strangers(request, writing=writing)
        if page:
            return
        if self._has_token(request):
            return
        if is_here(request):
            _refuse_foreign_names(request)
            if not writing:
                return
        what = "changing something" if writing else "asking from another machine"
        if not self._tokens.some:
            remedy = "give the server a file with one: STEPAUDIO_CAS_HTTP_TOKEN_FILE, --token-file"
        else:
            remedy = f"send it: Authorization: Bearer …; it is in {self._tokens.path} on the server"
            remedy = remedy if is_here(request) else "send it: Authorization: Bearer …"
        raise ApiError(401, f"{what} needs the token", remedy, _CHALLENGE)

    def _has_token(self, request: HTTPConnection) -> bool:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if not given.strip():
            return False
        if scheme.lower() == "bearer" and self._tokens.fits(given.encode("latin-1").strip()):
            return True
        raise ApiError(401, "this is not the token", "send the right one, or none", _CHALLENGE)


def is_here(request: HTTPConnection) -> bool:
    """Tell whether somebody on this machine asks, and not somebody behind a proxy on it."""
    for name in request.headers:
        if name in _FORWARDED or name.startswith(_FORWARDED_ALL):
            return False
    ends = request.scope.get("client"), request.scope.get("server")
    return all(end is not None and _is_loopback(end[0]) for end in ends)


def _is_loopback(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


def _refuse_foreign_names(request: HTTPConnection) -> None:
    """Refuse a name that somebody has made to mean this machine: DNS rebinding."""
    host = request.headers.get("host", "")
    try:
        name = "" if "@" in host else (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        name = ""
    if name == "localhost" or name.endswith(".localhost") or _is_loopback(name):
        return
    raise ApiError(
        421, "without a token, this server answers to localhost only",
        "use http://127.0.0.1:PORT/, or send the token",
    )  # fmt: skip


def _refuse_strangers(request: HTTPConnection, *, writing: bool) -> None:
    """Refuse what a page of somebody else's has a browser send."""
    headers = request.headers
    site = headers.get("sec-fetch-site", "none").lower()
    visit = headers.get("sec-fetch-mode", "").lower() == "navigate" and not writing
    origin = headers.get("origin")
    foreign = site not in {"same-origin", "none"} and not visit
    if origin is not None and not foreign and site != "same-origin":  # a proxy may change Host
        foreign = not _same(origin, headers.get("host", ""))
    if foreign:
        raise ApiError(403, "a page of another site asks for this", "open the page of this server")


def _same(origin: str, host: str) -> bool:
    try:
        one, port = urlsplit(origin), _PORTS.get(urlsplit(origin).scheme)
        other = urlsplit(f"//{host}")
        return bool(one.hostname) and (one.hostname, one.port or port) == (
            other.hostname,
            other.port or port,
        )
    except ValueError:
        return False


class Limited:
    """Receives a body up to a size and in a time, and no byte more is kept."""

    def __init__(self, request: HTTPConnection, receive: Receive, largest: int) -> None:
        self._receive, self._largest, self._seen = receive, largest, 0
        self._waited, self._more = 0.0, True
        said = request.headers.get("content-length", "")
        if said.isdecimal() and int(said) > largest:
            raise self._too_large()

    async def __call__(self) -> Message:
        message: Any = await (self._in_time() if self._more else self._receive())
        self._seen += len(message.get("body", b""))
        self._more = message.get("more_body", False)
        if self._seen > self._largest:
            raise self._too_large()
        return message  # type: ignore[no-any-return]

    async def _in_time(self) -> Message:
        """Wait for more. What we do with it ourselves is not the time of whoever sends it."""
        began = time.monotonic()
        left = GRACE + self._seen / SLOWEST - self._waited
        try:
            return await asyncio.wait_for(self._receive(), max(left, 0))
        except asyncio.TimeoutError:
            raise ApiError(
                408, f"the body has not come within {GRACE + self._seen / SLOWEST:.0f} s",
                f"send it faster than {SLOWEST >> 10} KiB/s", {"Connection": "close"},
            ) from None  # fmt: skip
        finally:
            self._waited += time.monotonic() - began

    def _too_large(self) -> ApiError:
        return ApiError(
            413, f"that is more than {self._largest} bytes", "send less", {"Connection": "close"}
        )
