"""A store in a Google Cloud Storage bucket, through its JSON interface."""

from __future__ import annotations

import json
import os
import threading
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlencode, urlsplit

from stepaudio_cas.errors import Unavailable
from stepaudio_cas.store.backend import MAX_BYTES, Entry
from stepaudio_cas.store.http import Answer, Client, json_of
from stepaudio_cas.store.objectstore import PAGE, PAGE_BYTES, ObjectStore

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stepaudio_cas.store.objectstore import Page

_SERVER: Final = "https://storage.googleapis.com"
_SCOPE: Final = "https://www.googleapis.com/auth/devstorage.read_write"
_FIELDS: Final = "name,size,updated,generation"


class GcsBackend(ObjectStore):
    """Creating and deleting are conditional on the generation of the object: of many, one succeeds.

    Credentials are Google's application default credentials, by google-auth; a server named by
    `STORAGE_EMULATOR_HOST` needs none.
    """

    def __init__(self, url: str) -> None:
        super().__init__("gs", url)
        emulator = os.environ.get("STORAGE_EMULATOR_HOST", "").rstrip("/")
        if emulator and "://" not in emulator:
            emulator = f"http://{emulator}"
        self._identity = None if emulator else _Identity()
        self._client = Client(emulator or _SERVER)
        self._base = urlsplit(emulator).path
        self._bucket_url = f"{self._base}/storage/v1/b/{quote(self.bucket, safe='')}/o"

    def _after_fork(self) -> None:
        if self._identity is not None:
            self._identity.restart()

    def put(self, path: str, data: bytes, *, create: bool = False) -> bool:
        asked = {"uploadType": "multipart", "fields": "generation"}
        if create:
            asked["ifGenerationMatch"] = "0"
        target = f"{self._base}/upload{self._bucket_url[len(self._base) :]}?{urlencode(asked)}"
        mark = os.urandom(16).hex()
        body = _upload(f"{self.prefix}{path}", data, mark)
        kind = f"multipart/related; boundary={mark}"
        answer = self._send("POST", target, {"content-type": kind}, body)
        if answer.status == 412 and create:
            # We may have been heard twice, and told of the second time only.
            return answer.repeated and self.get(path, limit=len(data) + 1) == data
        if answer.status != 200:
            raise self._failure(answer, writing=True)
        return True

    def _fetch(self, path: str, limit: int) -> tuple[bytes, str] | None:
        answer = self._send("GET", f"{self._at(path)}?alt=media", limit=limit)
        if answer.status == 404:
            self._missing()
            return None
        if answer.status != 200:
            raise self._failure(answer)
        self._bucket_seen = True
        return answer.body, answer.headers.get("x-goog-generation", "")

    def _look(self, path: str) -> tuple[Entry, str] | None:
        answer = self._send("GET", f"{self._at(path)}?fields={_FIELDS}", limit=PAGE_BYTES)
        if answer.status == 404:
            self._missing()
            return None
        if answer.status != 200:
            raise self._failure(answer)
        found = json_of(answer.body)
        _, size, mtime = _entry(found)
        return Entry(path, size, mtime), str(found.get("generation", ""))

    def _delete(self, path: str, version: str) -> bool:
        condition = f"?ifGenerationMatch={version}" if version else ""
        answer = self._send("DELETE", f"{self._at(path)}{condition}")
        if answer.status in {404, 412}:
            return answer.repeated and self._look(path) is None
        if answer.status not in {200, 204}:
            raise self._failure(answer, writing=True)
        return True

    def _page(self, prefix: str, at: str) -> Page:
        asked = {
            "prefix": prefix, "maxResults": str(PAGE), "fields": f"nextPageToken,items({_FIELDS})",
        }  # fmt: skip
        if at:
            asked["pageToken"] = at
        answer = self._send("GET", f"{self._bucket_url}?{urlencode(asked)}", limit=PAGE_BYTES)
        if answer.status == 404:
            raise Unavailable("bucket", f"there is no bucket {self.bucket}")
        if answer.status != 200:
            raise self._failure(answer)
        found = json_of(answer.body)
        try:
            entries = [_entry(item) for item in found.get("items", [])]
        except (KeyError, TypeError, ValueError) as error:
            raise Unavailable("server", f"a listing that cannot be read: {error}") from error
        return entries, found.get("nextPageToken") or None

    def _at(self, path: str) -> str:
        return f"{self._bucket_url}/{quote(self.prefix + path, safe='')}"

    def _send(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        limit: int = MAX_BYTES,
    ) -> Answer:
        """Ask, with a token if one is needed; once more with a new one if it is not taken."""

        def ask() -> Answer:
            sent = dict(headers or {})
            if self._identity is not None:
                sent |= self._identity.headers()
            return self._client.request(method, target, sent, body, limit=limit)

        answer = self._patiently(ask)
        if answer.status == 401 and self._identity is not None:
            self._identity.restart()
            answer = self._patiently(ask)
        return answer

    def _failure(self, answer: Answer, *, writing: bool = False) -> Exception:
        error = json_of(answer.body).get("error")
        text = str(error.get("message", "")) if isinstance(error, dict) else ""
        text = text or answer.body[:200].decode(errors="replace")
        if answer.status == 404:
            return Unavailable("bucket", f"there is no bucket {self.bucket} ({text})")
        return self._named(answer.status, "", text, writing=writing)


class _Identity:
    """The token in use: found when it is first needed, renewed before it expires."""

    def __init__(self) -> None:
        import google.auth  # noqa: F401, PLC0415 - so that it is said at once if it is missing

        self.restart()

    def restart(self) -> None:
        self._lock = threading.Lock()
        self._credentials: Any = None

    def headers(self) -> dict[str, str]:
        """Return what a request has to carry."""
        import google.auth  # noqa: PLC0415
        from google.auth.exceptions import GoogleAuthError  # noqa: PLC0415

        with self._lock:
            try:
                if self._credentials is None:
                    self._credentials, _ = google.auth.default(scopes=[_SCOPE], request=_transport)
                found = self._credentials
                if not found.valid:
                    found.refresh(_transport)
            except (GoogleAuthError, OSError, ValueError) as error:
                text = " ".join(str(error).split())[:300]
                raise Unavailable("credentials", text) from error
            headers = {"authorization": f"Bearer {found.token}"}
            project = getattr(found, "quota_project_id", None)
            return headers | ({"x-goog-user-project": project} if project else {})


class _Reply:
    """An answer as google-auth wants it."""

    def __init__(self, answer: Answer) -> None:
        self.status = answer.status
        self.headers = answer.headers
        self.data = answer.body


def _transport(
    url: str,
    method: str = "GET",
    body: bytes | str | None = None,
    headers: Mapping[str, str] | None = None,
    **options: Any,
) -> _Reply:
    """Carry a request of google-auth, so that it needs no other library to do so."""
    del options
    parts = urlsplit(url)
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    content = body.encode() if isinstance(body, str) else body or b""
    client = Client(f"{parts.scheme}://{parts.netloc}")
    try:
        return _Reply(client.request(method, target or "/", headers or {}, content, limit=1 << 20))
    except Unavailable as error:
        from google.auth.exceptions import TransportError  # noqa: PLC0415

        raise TransportError(str(error)) from error


def _entry(found: Mapping[str, Any]) -> tuple[str, int, float]:
    moment = found["updated"].replace("Z", "+00:00")
    return found["name"], int(found["size"]), _moment(moment)


def _moment(text: str) -> float:
    """Read a time, whatever the number of its decimals (Python 3.10 wants three or six)."""
    whole, dot, rest = text.partition(".")
    if not dot:
        return datetime.fromisoformat(text).timestamp()
    digits = rest[: len(rest) - len(rest.lstrip("0123456789"))]
    zone = rest[len(digits) :]
    return datetime.fromisoformat(f"{whole}{zone}").timestamp() + float(f"0.{digits}")


def _upload(name: str, data: bytes, mark: str) -> bytes:
    about = json.dumps({"name": name}).encode()
    edge = f"--{mark}".encode()
    return b"".join(
        (
            edge, b"\r\ncontent-type: application/json\r\n\r\n", about, b"\r\n",
            edge, b"\r\ncontent-type: application/octet-stream\r\n\r\n", data, b"\r\n",
            edge, b"--\r\n",
        )
    )  # fmt: skip
