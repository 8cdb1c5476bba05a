"""A store behind any fsspec URL: S3, GCS, Azure, SFTP, HTTP and others."""

from __future__ import annotations

import contextlib
import errno
import inspect
import time
from typing import TYPE_CHECKING, Any, Final

import fsspec
from fsspec.asyn import AsyncFileSystem

from stepaudio_cas._fork import survive_fork
from stepaudio_cas.errors import Damaged
from stepaudio_cas.store.backend import MAX_BYTES, Entry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

_ATTEMPTS: Final = 100
_TIME_KEYS: Final = ("mtime", "LastModified", "last_modified", "updated", "created")


class FsspecBackend:
    """Documents are files of an fsspec file system, below the URL's path.

    Whether `create` really never overwrites depends on the file system: see `probe`.
    """

    def __init__(self, url: str, **options: Any) -> None:
        self.url = url.rstrip("/")
        self._options = {"use_listings_cache": False, **options}
        self._connected: tuple[Any, str] | None = None
        self._connect()
        survive_fork(self)

    def __repr__(self) -> str:
        return f"FsspecBackend({self.url!r})"

    def _after_fork(self) -> None:
        self._connected = None  # its loop and sockets are the parent's

    def _connect(self) -> tuple[Any, str]:
        if self._connected is None:
            fs, root = fsspec.core.url_to_fs(self.url, skip_instance_cache=True, **self._options)
            self._connected = fs, root.rstrip("/")
        return self._connected

    def _at(self, path: str) -> tuple[Any, str]:
        fs, root = self._connect()
        return fs, f"{root}/{path}"

    def get(self, path: str, *, limit: int = MAX_BYTES, touch: bool = False) -> bytes | None:
        del touch  # object stores have no cheap access time
        fs, full = self._at(path)
        try:
            data = bytes(fs.cat_file(full))
        except (FileNotFoundError, IsADirectoryError):
            return None
        if len(data) > limit:
            raise Damaged("too-large", f"{path} has {len(data)} bytes")
        return data

    def put(self, path: str, data: bytes, *, create: bool = False) -> bool:
        fs, full = self._at(path)
        try:
            return self._write(fs, full, data, create)
        except FileNotFoundError:  # a file system with real folders
            fs.makedirs(full.rsplit("/", 1)[0], exist_ok=True)
            return self._write(fs, full, data, create)

    def _write(self, fs: Any, full: str, data: bytes, create: bool) -> bool:
        if not create:
            fs.pipe_file(full, data)
            return True
        if not _takes_mode(fs):
            if fs.exists(full):
                return False
            fs.pipe_file(full, data)
            return True
        try:
            fs.pipe_file(full, data, mode="create")
        except FileExistsError:
            return False
        except OSError as error:
            # Several S3 servers refuse a conditional PUT in a way that s3fs reports as EINVAL.
            if error.errno == errno.EINVAL and fs.exists(full):
                return False
            raise
        return True

    def stat(self, path: str) -> Entry | None:
        fs, full = self._at(path)
        try:
            info = fs.info(full)
        except FileNotFoundError:
            return None
        return Entry(path, int(info.get("size") or 0), _mtime(info))

    def delete(self, path: str, *, expect: bytes | None = None) -> bool:
        fs, full = self._at(path)
        if expect is not None and self.get(path) != expect:
            return False
        try:
            fs.rm_file(full)
        except FileNotFoundError:
            return False
        return True

    def list(self, prefix: str) -> Iterator[Entry]:
        fs, full = self._at(prefix)
        _, root = self._connect()
        try:
            found = _files(fs, full)
        except FileNotFoundError:
            return
        for name, info in found.items():
            if info.get("type") == "file" and name != full:
                relative = name[len(root) :].lstrip("/") if root else name.lstrip("/")
                yield Entry(relative, int(info.get("size") or 0), _mtime(info))


def _takes_mode(fs: Any) -> bool:
    """Tell whether `pipe_file` knows `mode` by name; elsewhere it would vanish in `**kwargs`."""
    function = getattr(fs, "_pipe_file", None) or fs.pipe_file
    return "mode" in inspect.signature(function).parameters


def _found(fs: Any, folder: str) -> dict[str, Any]:
    """Use the file system's own walk; that of fsspec's memory stumbles over other threads."""
    for _ in range(_ATTEMPTS):
        with contextlib.suppress(RuntimeError):
            return fs.find(folder, detail=True)  # type: ignore[no-any-return]
    return fs.find(folder, detail=True)  # type: ignore[no-any-return]


def _files(fs: Any, folder: str) -> dict[str, Any]:
    """Find all files below `folder`; fsspec's own walk takes a folder it cannot list for empty."""
    find = getattr(type(fs), "_find", None) or type(fs).find
    if find not in {fsspec.AbstractFileSystem.find, AsyncFileSystem._find}:  # noqa: SLF001
        return _found(fs, folder)
    found: dict[str, Any] = {}
    with contextlib.suppress(FileNotFoundError):
        for info in fs.ls(folder, detail=True):
            below = info["type"] == "directory" and info["name"].rstrip("/") != folder
            found |= _files(fs, info["name"].rstrip("/")) if below else {info["name"]: info}
    return found


def _mtime(info: dict[str, Any]) -> float:
    for key in _TIME_KEYS:
        value: float | str | datetime | None = info.get(key)
        if isinstance(value, (int, float)):
            return float(value)
        if value is not None and not isinstance(value, str):
            return value.timestamp()
    return time.time()  # unknown age is taken for new: nothing is deleted for being old
