"""A store in an S3 bucket: Amazon's, or that of any server with the same interface."""

from __future__ import annotations

import re
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote_plus
from xml.etree import ElementTree as ET

from stepaudio_cas.errors import Unavailable
from stepaudio_cas.store.aws import Identity, Profile, Signer, query, quoted
from stepaudio_cas.store.backend import MAX_BYTES, Entry
from stepaudio_cas.store.http import Answer, Client
from stepaudio_cas.store.objectstore import BAD_CREDENTIALS, PAGE, PAGE_BYTES, ObjectStore

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stepaudio_cas.store.objectstore import Page

_CONFLICTS: Final = 4
_FIELD: Final = r"<{0}>([^<]*)</{0}>"


class S3Backend(ObjectStore):
    """Creating is If-None-Match, deleting is If-Match: of many, one succeeds.

    Credentials, region and endpoint are found as AWS's own tools find them: environment, profiles,
    and with botocore installed roles, SSO and instance metadata.
    """

    def __init__(self, url: str) -> None:
        super().__init__("s3", url)
        profile = Profile()
        self._identity = Identity()
        self._signer = Signer(profile.region)
        self._endpoint = profile.endpoint
        self._ca_file = profile.env.get("AWS_CA_BUNDLE") or profile.values.get("ca_bundle") or None
        virtual = profile.s3.get("addressing_style") == "virtual"
        self._in_name = virtual or (self._endpoint is None and "." not in self.bucket)
        self._client = self._connect()

    def _after_fork(self) -> None:
        self._identity.restart()

    def _connect(self) -> Client:
        region = self._signer.region
        suffix = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
        base = self._endpoint or f"https://s3.{region}.{suffix}"
        if self._in_name:
            base = base.replace("://", f"://{self.bucket}.", 1)
        return Client(base, ca_file=self._ca_file)

    def put(self, path: str, data: bytes, *, create: bool = False) -> bool:
        condition = {"if-none-match": "*"} if create else {}
        for _ in range(_CONFLICTS):
            answer = self._ask("PUT", path, data, condition)
            if answer.status == 200:
                return True
            if answer.status == 412 and create:
                # We may have been heard twice, and told of the second time only.
                return answer.repeated and self.get(path, limit=len(data) + 1) == data
            if answer.status != 409:
                break
            # Somebody is creating it at this moment, and may yet fail.
        if answer.status == 409 and self.stat(path) is not None:
            return False
        if answer.status == 501 and create:
            return self.stat(path) is None and self.put(path, data)
        raise self._failure(answer, writing=True)

    def _fetch(self, path: str, limit: int) -> tuple[bytes, str] | None:
        answer = self._ask("GET", path, limit=limit)
        if answer.status == 404 and _field(answer.body, "Code") != "NoSuchBucket":
            return None
        if answer.status != 200:
            raise self._failure(answer)
        self._bucket_seen = True
        return answer.body, answer.headers.get("etag", "")

    def _look(self, path: str) -> tuple[Entry, str] | None:
        answer = self._ask("HEAD", path)
        if answer.status == 404:
            self._missing()  # there is no text to tell by
            return None
        if answer.status != 200:
            raise self._failure(answer)
        size = int(answer.headers.get("content-length", "0"))
        time = parsedate_to_datetime(answer.headers["last-modified"]).timestamp()
        return Entry(path, size, time), answer.headers.get("etag", "")

    def _delete(self, path: str, version: str) -> bool:
        answer = self._ask("DELETE", path, condition={"if-match": version} if version else {})
        if answer.status == 501:  # no such condition here: what was seen a moment ago will do
            answer = self._ask("DELETE", path)
        if answer.status in {404, 409, 412}:
            return answer.repeated and self._look(path) is None
        if answer.status not in {200, 204}:
            raise self._failure(answer, writing=True)
        return True

    def _page(self, prefix: str, at: str) -> Page:
        asked = {
            "list-type": "2", "encoding-type": "url", "max-keys": str(PAGE), "prefix": prefix,
        }  # fmt: skip
        if at:
            asked["continuation-token"] = at
        answer = self._send("GET", f"{self._root or '/'}?{query(asked)}", limit=PAGE_BYTES)
        if answer.status != 200:
            raise self._failure(answer)
        try:
            return _listed(answer.body)
        except (ET.ParseError, ValueError, TypeError) as error:
            raise Unavailable("server", f"a listing that cannot be read: {error}") from error

    @property
    def _root(self) -> str:
        return "" if self._in_name else f"/{self.bucket}"

    def _ask(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        condition: Mapping[str, str] | None = None,
        *,
        limit: int = MAX_BYTES,
    ) -> Answer:
        target = quoted(f"{self._root}/{self.prefix}{path}")
        return self._send(method, target, body, condition or {}, limit)

    def _send(
        self,
        method: str,
        target: str,
        body: bytes = b"",
        condition: Mapping[str, str] | None = None,
        limit: int = MAX_BYTES,
    ) -> Answer:
        """Ask; once more with other credentials or in another region if that is what it takes."""

        def ask() -> Answer:
            headers = {"host": self._client.authority, **(condition or {})}
            signed = self._signer.sign(used, method, target, headers, body)
            return self._client.request(method, target, signed, body, limit=limit)

        used = self._identity.get()
        answer = self._patiently(ask)
        if answer.status in {301, 307, 400, 403} and self._mended(answer):
            answer = self._patiently(ask)
        if answer.status >= 400 and _field(answer.body, "Code") in BAD_CREDENTIALS:
            self._identity.forget(used)
            refused, used = used, self._identity.get()
            if used != refused:
                answer = self._patiently(ask)
        return answer

    def _mended(self, answer: Answer) -> bool:
        """Tell whether the answer says in which region the bucket is, and go there."""
        region = answer.headers.get("x-amz-bucket-region") or _field(answer.body, "Region")
        if not region or region == self._signer.region or not re.fullmatch(r"[a-z0-9-]+", region):
            return False
        self._signer = Signer(region)
        self._client = self._connect()
        return True

    def _failure(self, answer: Answer, *, writing: bool = False) -> Exception:
        code, text = _field(answer.body, "Code"), _field(answer.body, "Message")
        return self._named(answer.status, code, text, writing=writing)


def _field(body: bytes, name: str) -> str:
    found = re.search(_FIELD.format(name), body[:4096].decode(errors="replace"))
    return found[1] if found else ""


def _seconds(text: str) -> float:
    """Read the time of a listing, in whole seconds, which is what a look at one object tells."""
    return datetime.strptime(f"{text[:19]}+0000", "%Y-%m-%dT%H:%M:%S%z").timestamp()


def _listed(body: bytes) -> Page:
    root = ET.fromstring(body)  # noqa: S314 - expat limits what entities grow to
    space = root.tag[: root.tag.find("}") + 1]
    entries = [
        (
            unquote_plus(item.findtext(f"{space}Key", "")),
            int(item.findtext(f"{space}Size", "0")),
            _seconds(item.findtext(f"{space}LastModified", "")),
        )
        for item in root.iter(f"{space}Contents")
    ]
    more = root.findtext(f"{space}IsTruncated", "").strip() == "true"
    token = root.findtext(f"{space}NextContinuationToken")
    if more and not token:
        raise ValueError("there is more, and no word on where")
    return entries, token if more else None
