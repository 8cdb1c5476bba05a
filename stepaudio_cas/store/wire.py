"""One HTTP/1.1 connection: a request goes out in one piece, the answer comes in bounded.

`http.client` makes the connections, and nothing else: it reads the headers of an answer as those of
an e-mail, which takes as long as all else that is to be done for a small request.
"""

from __future__ import annotations

import re
from http.client import HTTPException
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from stepaudio_cas.errors import Damaged

if TYPE_CHECKING:
    from collections.abc import Mapping
    from http.client import HTTPConnection

_LINE: Final = 1 << 16
_HEADERS: Final = 200
_EXPLANATION: Final = 1 << 16
"""How much of an answer other than success is read, whatever its length."""

_BAD_TARGET: Final = re.compile(r"[^!-~]").search
_BAD_VALUE: Final = re.compile(r"[\r\n\0]").search
_WITH_BODY: Final = frozenset({"PATCH", "POST", "PUT"})


class Reply(NamedTuple):
    """What has come back. Header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


class Wire:
    """A connection that is established. `reusable`: the last answer was read to its end."""

    def __init__(self, connection: HTTPConnection) -> None:
        self.sock: Any = connection.sock
        self._input = self.sock.makefile("rb")
        self.reusable = False

    def close(self) -> None:
        """Let go of it."""
        sock, self.sock = self.sock, None
        if sock is not None:
            self._input.close()
            sock.close()

    def exchange(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes, limit: int
    ) -> Reply:
        """Ask and read the answer; raise `Damaged` for a good one of more than `limit` bytes.

        Raises `ConnectionError` or `HTTPException` where there is no answer, or half of one.
        """
        self.reusable = False
        self.sock.sendall(_head(method, target, headers, body) + body)
        status, version = self._status()
        found = self._headers()
        left = self._length(method, status, found)
        good = status < 300
        most = limit if good else max(limit, _EXPLANATION)
        if left is not None and left > most and good:
            raise Damaged("too-large", f"{target} has {left} bytes")
        chunked = left is None and found.get("transfer-encoding", "").lower() == "chunked"
        content = self._chunks(most) if chunked else self._input.read(min(left or 0, most))
        if left is None and not chunked:
            content = self._input.read(most + 1)
        elif left is not None and len(content) < min(left, most):
            raise ConnectionError(f"the answer ends after {len(content)} of {left} bytes")
        if good and len(content) > limit:
            raise Damaged("too-large", f"{target} has more than {limit} bytes")
        whole = len(content) == left or (chunked and len(content) <= most)
        stays = version == b"HTTP/1.1" and "close" not in found.get("connection", "").lower()
        self.reusable = whole and stays
        return Reply(status, found, content)

    def _status(self) -> tuple[int, bytes]:
        while True:
            line = self._line()
            if not line:
                raise ConnectionResetError("closed without an answer")
            version, _, rest = line.partition(b" ")
            code = rest[:3]
            if not version.startswith(b"HTTP/1.") or not code.isdigit() or len(code) < 3:
                raise HTTPException(f"no answer in HTTP: {line[:40]!r}")
            if code[:1] != b"1":
                return int(code), version
            self._headers()  # of an answer before the answer

    def _headers(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for _ in range(_HEADERS):
            line = self._line()
            if line in {b"\r\n", b"\n"}:
                return found
            name, colon, value = line.decode("latin-1").partition(":")
            if not colon:
                break
            found[name.strip().lower()] = value.strip()
        raise HTTPException("headers that do not end")

    def _line(self) -> bytes:
        line: bytes = self._input.readline(_LINE)
        if len(line) >= _LINE:
            raise HTTPException("a line that does not end")
        return line

    def _length(self, method: str, status: int, headers: Mapping[str, str]) -> int | None:
        """Return how many bytes follow; None if only the bytes themselves tell."""
        if method == "HEAD" or status in {204, 304}:
            return 0
        text = headers.get("content-length", "")
        if "transfer-encoding" in headers or not text:
            return None
        if not text.isdecimal():
            raise HTTPException(f"a length of {text[:40]!r}")
        return int(text)

    def _chunks(self, most: int) -> bytes:
        """Read what comes in pieces, up to one byte more than `most`."""
        parts: list[bytes] = []
        total = 0
        while True:
            text = self._line().partition(b";")[0].strip()
            try:
                size = int(text, 16)
            except ValueError:
                raise HTTPException(f"a piece of {text[:40]!r} bytes") from None
            if size <= 0:
                break
            wanted = min(size, most + 1 - total)
            parts.append(self._input.read(wanted))
            if len(parts[-1]) < wanted:
                raise ConnectionError("the answer ends within a piece")
            total += wanted
            if total > most:
                return b"".join(parts)
            self._line()
        self._headers()  # after the last piece
        return b"".join(parts)


def _head(method: str, target: str, headers: Mapping[str, str], body: bytes) -> bytes:
    """Write a request up to its body; raise `ValueError` for what would be read as two."""
    if _BAD_TARGET(target):
        raise ValueError(f"{target!r} cannot be asked for")
    lines = [f"{method} {target} HTTP/1.1"]
    for name, value in headers.items():
        if _BAD_VALUE(value):
            raise ValueError(f"the header {name} cannot have a line break")
        lines.append(f"{name}: {value}")
    lines.append("accept-encoding: identity")
    if body or method in _WITH_BODY:
        lines.append(f"content-length: {len(body)}")
    return "\r\n".join([*lines, "\r\n"]).encode("latin-1")
