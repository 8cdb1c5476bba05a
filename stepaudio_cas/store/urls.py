"""From what an operator writes to a backend."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

from stepaudio_cas.errors import SettingError
from stepaudio_cas.store.local import LocalBackend
from stepaudio_cas.store.memory import MemoryBackend

if TYPE_CHECKING:
    from stepaudio_cas.store.backend import Backend

_HALF_A_URL: Final = re.compile(r"[^/]*:/|[^/]*:$|(?:file|memory|s3|gs|rediss?):").match
_VARIABLE: Final = re.compile(r"\$\{?[A-Za-z_]").match
_EXTRAS: Final = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs", "redis": "redis"}


def open_backend(url: str) -> Backend:
    """Return the backend for a path or URL; raise `SettingError` saying what is wrong with it."""
    url = url.strip()
    scheme, separator, _ = url.partition("://")
    if not separator:
        if _HALF_A_URL(url):
            raise SettingError(f"{url}: neither a path nor a URL; those have two slashes")
        if _VARIABLE(url):
            raise SettingError(f"{url}: this variable was not replaced; write out the path")
        return LocalBackend(Path(url).expanduser())
    if scheme == "file":
        parts = urlsplit(url)
        if parts.netloc not in {"", "localhost"} or not parts.path:
            raise SettingError(f"{url}: a file URL has three slashes: file:///path/to/store")
        return LocalBackend(unquote(parts.path))
    if scheme == "memory":
        return MemoryBackend(url.removeprefix("memory://"))
    if not url.removeprefix(f"{scheme}://").strip("/"):
        raise SettingError(f"{url}: names no bucket or host")
    if scheme in {"s3", "s3a", "gs", "gcs"}:
        return _open_bucket(url, scheme)
    if scheme.partition("+")[0] in {"redis", "rediss"}:
        return _open_redis(url)
    return _open_fsspec(url, scheme)


def _open_bucket(url: str, scheme: str) -> Backend:
    try:
        if scheme in {"s3", "s3a"}:
            from stepaudio_cas.store.s3 import S3Backend  # noqa: PLC0415

            return S3Backend(url)
        from stepaudio_cas.store.gcs import GcsBackend  # noqa: PLC0415

        return GcsBackend(url)
    except ImportError:
        remedy = "pip install 'stepaudio-cas[gcs]'"
        raise SettingError(f"{url}: support for {scheme}:// is missing: {remedy}") from None
    except ValueError as error:
        shown = f"{scheme}://…" if "@" in url else url
        raise SettingError(f"{shown}: {error}") from None


def _open_redis(url: str) -> Backend:
    from stepaudio_cas.store.redis_url import parse_place  # noqa: PLC0415

    place = parse_place(url)
    try:
        from stepaudio_cas.store.redis import RedisBackend  # noqa: PLC0415
    except ImportError:
        raise SettingError(
            f"{place.shown}: support for Redis is missing: pip install 'stepaudio-cas[redis]'"
        ) from None
    return RedisBackend(place)


def _open_fsspec(url: str, scheme: str) -> Backend:
    # fsspec takes tens of milliseconds to import, and most deployments never need it.
    from stepaudio_cas.store.remote import FsspecBackend  # noqa: PLC0415

    try:
        return FsspecBackend(url)
    except ImportError as error:
        extra = _EXTRAS.get(scheme)
        remedy = f"pip install 'stepaudio-cas[{extra}]'" if extra else f"install it ({error})"
        raise SettingError(f"{url}: support for {scheme}:// is missing: {remedy}") from None
    except ValueError as error:
        raise SettingError(f"{url}: {error}") from None


def local_root(backend: Backend) -> str | None:
    """Return the folder of a local store."""
    return backend.root if isinstance(backend, LocalBackend) else None


def is_near(backend: Backend) -> bool:
    """Tell whether a document is at hand without a round trip."""
    return isinstance(backend, (LocalBackend, MemoryBackend))


def default_root() -> Path:
    """Return where `STEPAUDIO_CAS=1` puts the store."""
    base = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
    return Path(base) / "stepaudio-cas"
