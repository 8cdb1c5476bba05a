"""A store on a local (or network-mounted) disk."""

from __future__ import annotations

import contextlib
import errno
import os
import stat as modes
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from stepaudio_cas._fork import survive_fork
from stepaudio_cas.errors import Damaged
from stepaudio_cas.identity.digest import HEX_LENGTH
from stepaudio_cas.store import layout
from stepaudio_cas.store.backend import MAX_BYTES, Entry

try:
    import fcntl
except ImportError:  # pragma: no cover - not on this platform; locks then do nothing
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import Iterator

_TEMP_PREFIX: Final = ".tmp-"
_TOUCH_AFTER: Final = 3600.0
_LENGTHS: Final = frozenset({HEX_LENGTH, HEX_LENGTH + len(".json")})
_NO_LINKS: Final = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS}


_READING: Final = os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NONBLOCK", 0)
"""Somebody may have put a pipe in the place of a document: opening it must not wait."""


class LocalBackend:
    """Documents are files below `root`.

    A document appears under its name in one step (a uniquely named temporary file beside it,
    then a link or a rename), so that no reader sees half of it and two writers never share a
    file, whether locks work here or not. Folders and files take the permissions of `root`: make
    that group-writable and set-gid, and all users of the group share the store.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = os.path.abspath(root)
        self.url = f"file://{self.root}"

    def __repr__(self) -> str:
        return f"LocalBackend({self.root!r})"

    def get(self, path: str, *, limit: int = MAX_BYTES, touch: bool = False) -> bytes | None:
        try:
            fd = os.open(f"{self.root}/{path}", _READING)
        except FileNotFoundError:
            return None
        try:
            status = os.fstat(fd)
            if not modes.S_ISREG(status.st_mode):
                raise Damaged("no-file", f"{path} is a folder, a pipe or a device")
            if status.st_size > limit:
                raise Damaged("too-large", f"{path} has {status.st_size} bytes")
            if touch and time.time() - status.st_mtime > _TOUCH_AFTER:
                with contextlib.suppress(OSError):
                    os.utime(fd)
            return _read(fd, status.st_size)
        finally:
            os.close(fd)

    def put(self, path: str, data: bytes, *, create: bool = False) -> bool:
        target = f"{self.root}/{path}"
        if create and os.path.lexists(target):
            return False
        if not create and _renew(target, data):
            return True
        temp = self._write_temp(target, data)
        try:
            if create:
                return _link(temp, target)
            os.replace(temp, target)
            return True
        finally:
            with contextlib.suppress(OSError):
                os.unlink(temp)

    def stat(self, path: str) -> Entry | None:
        try:
            status = os.stat(f"{self.root}/{path}")
        except FileNotFoundError:
            return None
        return Entry(path, status.st_size, status.st_mtime)

    def delete(self, path: str, *, expect: bytes | None = None) -> bool:
        target = f"{self.root}/{path}"
        try:
            if expect is None:
                os.unlink(target)
                return True
        except FileNotFoundError:
            return False
        assert expect is not None
        return self._delete_expected(target, expect)

    def list(self, prefix: str) -> Iterator[Entry]:
        for entry in self.everything(prefix):
            if not is_temporary(entry.path):
                yield entry

    def everything(self, prefix: str) -> Iterator[Entry]:
        """Yield all files below a folder, the temporary ones of living and dead writers too."""
        try:
            found = list(os.scandir(f"{self.root}/{prefix}"))
        except FileNotFoundError:
            return
        for item in found:
            path = f"{prefix}/{item.name}"
            try:
                if item.is_dir(follow_symlinks=False):
                    yield from self.everything(path)
                    continue
                status = item.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue  # deleted since
            yield Entry(path, status.st_size, status.st_mtime)

    def measure(self, folder: str) -> tuple[int, int]:
        """Count the files directly in a folder whose names are as long as those of ours.

        Returns also the sum of their bytes: what `list` tells, at a third of the cost.
        """
        try:
            fd = os.open(f"{self.root}/{folder}", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return 0, 0
        count = total = 0
        stat = os.stat
        try:
            for name in os.listdir(fd):
                if len(name) not in _LENGTHS:
                    continue
                try:
                    total += stat(name, dir_fd=fd, follow_symlinks=False).st_size
                except FileNotFoundError:
                    continue  # deleted since
                count += 1
        finally:
            os.close(fd)
        return count, total

    def try_lock(self, name: str) -> FileLock | None:
        """Lock `v1/leases/<name>.lock` by `flock`; the file goes when the lock is released."""
        if fcntl is None:
            return None
        path = f"{self.root}/{layout.LEASES}/{name}.lock"
        fd = self._open_lock(path)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_same_file(fd, path):
                return FileLock(fd, path)
        except BlockingIOError:
            pass
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)  # somebody has it, or the one who had it has just removed the file
        return None

    def _open_lock(self, path: str) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        mode = self._file_mode()
        try:
            fd = os.open(path, flags, mode)
        except FileNotFoundError:
            self._make_folders(os.path.dirname(path))
            fd = os.open(path, flags, mode)
        with contextlib.suppress(OSError):
            os.fchmod(fd, mode)
        return fd

    def _write_temp(self, target: str, data: bytes) -> str:
        """Write a temporary file beside `target`; nothing is left of it if that fails."""
        folder = os.path.dirname(target)
        temp = f"{folder}/{_TEMP_PREFIX}{os.getpid()}-{os.urandom(12).hex()}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            fd = os.open(temp, flags, 0o600)
        except FileNotFoundError:
            self._make_folders(folder)
            fd = os.open(temp, flags, 0o600)
        try:
            try:
                with contextlib.suppress(OSError):  # some mounts decide by themselves
                    os.fchmod(fd, self._file_mode())
                view = memoryview(data)
                while view:
                    view = view[os.write(fd, view) :]
            finally:
                os.close(fd)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temp)
            raise
        return temp

    def _delete_expected(self, target: str, expect: bytes) -> bool:
        """Move the file aside, look at it, and put it back if it has just become another one."""
        aside = f"{os.path.dirname(target)}/{_TEMP_PREFIX}{os.getpid()}-{os.urandom(12).hex()}"
        try:
            if Path(target).read_bytes() != expect:
                return False
            os.rename(target, aside)
        except FileNotFoundError:
            return False
        try:
            same = Path(aside).read_bytes() == expect
            if not same:
                _link(aside, target)
        except FileNotFoundError:
            same = True  # whoever removes what dead writers have left was quicker
        finally:
            with contextlib.suppress(OSError):
                os.unlink(aside)
        return same

    def _make_folders(self, folder: str) -> None:
        """Create `folder`; new folders below the root take the root's permissions."""
        os.makedirs(self.root, exist_ok=True)
        self._tag()
        mode = modes.S_IMODE(os.stat(self.root).st_mode)
        current = self.root
        for part in os.path.relpath(folder, self.root).split(os.sep):
            current = f"{current}/{part}"
            with contextlib.suppress(FileExistsError):
                os.mkdir(current)
                with contextlib.suppress(OSError):
                    os.chmod(current, mode)

    def _tag(self) -> None:
        tag = f"{self.root}/CACHEDIR.TAG"
        if not os.path.exists(tag):
            with contextlib.suppress(OSError), open(tag, "xb") as file:
                file.write(layout.CACHEDIR_TAG)

    def _file_mode(self) -> int:
        try:
            mode = os.stat(self.root).st_mode
        except FileNotFoundError:
            return 0o644
        return mode & 0o666


class FileLock:
    """A held `flock`. Its file is removed before it is released, under the lock."""

    def __init__(self, fd: int, path: str) -> None:
        self._fd = fd
        self._path = path
        survive_fork(self)

    def __del__(self) -> None:
        self.release()  # whoever was to do it had no time left

    def release(self) -> None:
        """Remove the file and unlock; the kernel does the second when the process dies."""
        fd, self._fd = self._fd, -1  # at once: a child forked from here on must not close it again
        if fd < 0:
            return
        with contextlib.suppress(OSError):
            os.unlink(self._path)
        with contextlib.suppress(OSError):
            fcntl.flock(fd, fcntl.LOCK_UN)
        os.close(fd)

    def _after_fork(self) -> None:
        """Let go of the parent's lock without unlocking it."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def is_temporary(path: str) -> bool:
    """Tell whether a file is one that a writer has not finished."""
    return path.rsplit("/", 1)[-1].startswith(".")


def _read(fd: int, size: int) -> bytes:
    data = os.read(fd, size + 1)
    if len(data) == size:
        return data
    parts = [data]  # a large file comes in several reads; a growing one is read to its end
    while part := os.read(fd, 1 << 20):
        parts.append(part)
    return b"".join(parts)


def _renew(target: str, data: bytes) -> bool:
    """Give a file the time of now, as if written again, if that is what it holds.

    A rename onto a file makes ext4 write out all of the new one first, which takes a millisecond.
    """
    flags = os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        fd = os.open(target, flags)
    except OSError:
        return False
    try:
        status = os.fstat(fd)
        plain = modes.S_ISREG(status.st_mode) and status.st_size == len(data)
        if not plain or _read(fd, len(data)) != data:
            return False
        os.utime(fd)
        return os.path.exists(target)  # `gc` may have removed it meanwhile
    except OSError:
        return False
    finally:
        os.close(fd)


def _link(temp: str, target: str) -> bool:
    """Give the finished file its name unless that is taken."""
    try:
        os.link(temp, target)
    except FileExistsError:
        # An NFS server may have made the link and lost its answer.
        return os.stat(temp).st_nlink > 1
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        return _claim(temp, target)
    return True


def _claim(temp: str, target: str) -> bool:
    """Take the name by exclusive creation, where the file system has no hard links.

    Between the two steps a reader sees an empty document, which it takes for a miss.
    """
    try:
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC))
    except FileExistsError:
        return False
    os.replace(temp, target)
    return True


def _is_same_file(fd: int, path: str) -> bool:
    try:
        there: Any = os.stat(path)
    except FileNotFoundError:
        return False
    here = os.fstat(fd)
    return (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)
