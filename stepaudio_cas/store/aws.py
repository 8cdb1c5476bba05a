"""Who we are for S3, and where that is: as the AWS command line and libraries find it out."""

from __future__ import annotations

import configparser
import hashlib
import hmac
import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import quote

from stepaudio_cas.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Mapping

_UNRESERVED: Final = "-_.~"


class Credentials(NamedTuple):
    """An access key, its secret, and the token of a session."""

    access: str
    secret: str
    token: str = ""


class Profile:
    """What `~/.aws/config` and `~/.aws/credentials` say of the profile in use."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        env = os.environ if environment is None else environment
        self.env = env
        self.name = env.get("AWS_PROFILE") or env.get("AWS_DEFAULT_PROFILE") or "default"
        config = _read(env.get("AWS_CONFIG_FILE") or "~/.aws/config")
        secret = _read(env.get("AWS_SHARED_CREDENTIALS_FILE") or "~/.aws/credentials")
        section = self.name if self.name == "default" else f"profile {self.name}"
        self.there = any((config.has_section(section), secret.has_section(self.name)))
        self.values: dict[str, str] = dict(config[section]) if section in config else {}
        if self.name in secret:
            self.values |= dict(secret[self.name])
        services = f"services {self.values.get('services', '')}"
        nested = config[services].get("s3", "") if services in config else ""
        self.service = _nested(nested)
        self.s3 = _nested(self.values.get("s3", ""))

    @property
    def region(self) -> str:
        """Where buckets are, unless they say otherwise."""
        env = self.env
        region = env.get("AWS_REGION") or env.get("AWS_DEFAULT_REGION")
        return region or self.values.get("region") or "us-east-1"

    @property
    def endpoint(self) -> str | None:
        """The address of a server that is not Amazon's."""
        env = self.env
        if env.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "").lower() == "true":
            return None
        found = env.get("AWS_ENDPOINT_URL_S3") or self.service.get("endpoint_url")
        found = found or env.get("AWS_ENDPOINT_URL") or self.values.get("endpoint_url")
        return found.rstrip("/") if found else None

    def keys(self) -> Credentials | None:
        """Return what the environment or the profile has in plain text."""
        values, env = self.values, self.env
        access, secret = env.get("AWS_ACCESS_KEY_ID"), env.get("AWS_SECRET_ACCESS_KEY")
        if access and secret:
            return Credentials(access, secret, env.get("AWS_SESSION_TOKEN", ""))
        if "role_arn" in values or env.get("AWS_WEB_IDENTITY_TOKEN_FILE"):
            return None
        access, secret = values.get("aws_access_key_id"), values.get("aws_secret_access_key")
        if access and secret:
            return Credentials(access, secret, values.get("aws_session_token", ""))
        return None


class Identity:
    """The credentials in use. Found when they are first needed; again after `forget`."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Start over, as in a forked child."""
        self._lock = threading.Lock()
        self._known: Credentials | None = None
        self._roles: Any = None

    def forget(self, refused: Credentials) -> None:
        """Look again at the next use: the server does not take these."""
        with self._lock:
            if self._known == refused:
                self._known = None
            self._roles = None

    def get(self) -> Credentials:
        """Return the credentials; raise `Unavailable` if there are none."""
        if self._known is not None:
            return self._known
        with self._lock:
            if self._roles is None:
                profile = Profile()
                self._known = profile.keys()
                if self._known is not None:
                    return self._known
                self._roles = _roles(profile)
            frozen = self._roles.get_frozen_credentials()  # renews what is about to expire
        return Credentials(frozen.access_key, frozen.secret_key, frozen.token or "")


def _roles(profile: Profile) -> Any:
    """Have botocore find what is more than a pair of keys: roles, SSO, instance metadata."""
    try:
        from botocore.session import Session  # noqa: PLC0415 - slow, and rarely needed
    except ImportError:
        raise Unavailable(
            "credentials",
            f"no keys in the environment or in profile {profile.name!r};"
            " for roles and SSO: pip install 'stepaudio-cas[s3]'",
        ) from None
    try:
        found = Session().get_credentials()
    except Exception as error:
        raise Unavailable("credentials", " ".join(str(error).split())) from error
    if found is None:
        raise Unavailable(
            "credentials", f"none in the environment, in profile {profile.name!r}, or by a role"
        )
    return found


def _read(path: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        parser.read_string(Path(path).expanduser().read_text(encoding="utf-8"))
    except (OSError, ValueError, RuntimeError, configparser.Error):
        return configparser.ConfigParser()  # not there, or not ours to complain about
    return parser


def _nested(text: str) -> dict[str, str]:
    pairs = (line.split("=", 1) for line in text.splitlines() if "=" in line)
    return {name.strip(): value.strip() for name, value in pairs}


def quoted(path: str) -> str:
    """Write a path as it is signed and sent."""
    return quote(path, safe=_UNRESERVED + "/")


def query(parameters: Mapping[str, str]) -> str:
    """Write a query as it is signed and sent."""
    pairs = (
        (quote(k, safe=_UNRESERVED), quote(v, safe=_UNRESERVED)) for k, v in parameters.items()
    )
    return "&".join(f"{name}={value}" for name, value in sorted(pairs))


class Signer:
    """Signature version 4, for one service in one region."""

    def __init__(self, region: str, service: str = "s3") -> None:
        self.region = region
        self._service = service
        self._derived: tuple[tuple[str, str], bytes] = (("", ""), b"")

    def sign(
        self,
        credentials: Credentials,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes,
        *,
        now: float | None = None,
    ) -> dict[str, str]:
        """Return `headers`, and those that prove who sends them."""
        moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
        path, _, asked = target.partition("?")
        content = hashlib.sha256(body).hexdigest()
        signed = {**headers, "x-amz-content-sha256": content, "x-amz-date": moment}
        if credentials.token:
            signed["x-amz-security-token"] = credentials.token
        names = sorted(signed)
        lines = "".join(f"{name}:{signed[name]}\n" for name in names)
        request = f"{method}\n{path}\n{asked}\n{lines}\n{';'.join(names)}\n{content}"
        scope = f"{moment[:8]}/{self.region}/{self._service}/aws4_request"
        digest = hashlib.sha256(request.encode()).hexdigest()
        text = f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{digest}"
        key = self._key(credentials.secret, moment[:8])
        signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
        signed["authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={credentials.access}/{scope},"
            f" SignedHeaders={';'.join(names)}, Signature={signature}"
        )
        return signed

    def _key(self, secret: str, day: str) -> bytes:
        known, key = self._derived
        if known != (secret, day):
            key = f"AWS4{secret}".encode()
            for part in (day, self.region, self._service, "aws4_request"):
                key = hmac.new(key, part.encode(), hashlib.sha256).digest()
            self._derived = (secret, day), key
        return key
