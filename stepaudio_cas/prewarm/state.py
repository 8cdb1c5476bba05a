"""What a daemon says of itself, in a file for each folder; the locks that keep a second away."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from stepaudio_cas.errors import CasError, SettingError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

FORMAT: Final = 1
STOPPED: Final = "stopped"
STALE: Final = "stale"
DEAD: Final = "dead"
_BEATS: Final = 3
"""A daemon that has said nothing for so many times as long as it should is stale."""

_LOOKS: Final = 10


def default_folder() -> str:
    """Return where the states are unless somebody says otherwise."""
    base = os.environ.get("XDG_STATE_HOME") or Path("~/.local/state").expanduser()
    return os.path.join(base, "stepaudio-cas", "watch")


class Place:
    """Where the state of one folder is, with its lock and its ledger."""

    def __init__(self, states: str, folder: str) -> None:
        digest = hashlib.blake2b(os.fsencode(os.path.realpath(folder)), digest_size=6).hexdigest()
        last = "".join(c if c.isalnum() and c.isascii() else "_" for c in os.path.basename(folder))
        self._base = os.path.join(states, f"{last[:40]}-{digest}")
        self.folder = folder

    @property
    def ledger(self) -> str:
        """Where it is written down which keys are pinned because of this folder."""
        return f"{self._base}.pins"

    def lock(self) -> list[int]:
        """Take the folder for this process; return what holds it. Raises `CasError` if it is taken.

        The folder itself is locked, too, which is seen from other containers as well.
        """
        held: list[int] = []
        try:
            lock = os.open(f"{self._base}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            held.append(lock)
            _take(lock)
            held.append(os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
            with _where_it_can_be():
                _take(held[-1])
        except BlockingIOError:
            for file in held:
                os.close(file)
            raise CasError(f"{self.folder} is watched already{self._by_whom()}") from None
        return held

    def _by_whom(self) -> str:
        found = self.read()
        if found is None or found["status"] in {STOPPED, DEAD}:
            return ", by a process whose state is elsewhere, perhaps in another container"
        who = f", by process {found['pid']} on {found['machine']} since {found['started']}"
        return f"{who}; cas-tool watch --status says how it is doing"

    def write(self, document: Mapping[str, Any]) -> None:
        """Say how it is, all at once. Raises `OSError`."""
        temporary = f"{self._base}.{os.getpid()}.tmp"
        with open(temporary, "w", encoding="ascii") as file:
            json.dump({"format": FORMAT, "folder": self.folder, **document}, file)
        os.replace(temporary, f"{self._base}.json")

    def read(self) -> dict[str, Any] | None:
        """Return what was said last, or None."""
        return _read(f"{self._base}.json", time.time())


def read_all(states: str) -> list[dict[str, Any]]:
    """Return the state of every folder that is or was watched."""
    try:
        names = sorted(name for name in os.listdir(states) if name.endswith(".json"))
    except FileNotFoundError:
        return []
    now = time.time()
    found = (_read(os.path.join(states, name), now) for name in names)
    return sorted((state for state in found if state is not None), key=lambda s: str(s["folder"]))


def prepare(states: str, folders: Sequence[str]) -> list[Place]:
    """Make the folder of the states. Raises `SettingError` if it cannot be written to.

    Raises `CasError` if one of the folders is in one that is watched already, or holds one.
    """
    try:
        os.makedirs(states, mode=0o755, exist_ok=True)
        if not os.access(states, os.W_OK | os.X_OK):
            raise PermissionError(13, "Permission denied")
    except OSError as error:
        raise SettingError(f"{states}: {error.strerror}; --state DIR names another") from None
    for state in read_all(states):
        other = str(state["folder"])
        for folder in folders:
            nested = other != folder and (_inside(folder, other) or _inside(other, folder))
            if nested and state["status"] not in {STOPPED, DEAD} and state["pid"] != os.getpid():
                raise CasError(f"{folder}: {other} is watched already, by process {state['pid']}")
    return [Place(states, folder) for folder in folders]


def _inside(folder: str, other: str) -> bool:
    outer, inner = os.path.realpath(other), os.path.realpath(folder)
    return os.path.commonpath((outer, inner)) == outer


def _read(path: str, now: float) -> dict[str, Any] | None:
    """Read a state, and find out whether whoever wrote it is still there."""
    try:
        with open(path, encoding="ascii") as file:
            state = json.load(file)
        beat, every = float(state["beat"]), float(state["every"])
        for name in ("folder", "status", "pid", "machine", "started"):
            state[name]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    state["silent"] = round(max(0.0, now - beat), 1)
    if state["status"] != STOPPED:
        if _unlocked(path.removesuffix(".json") + ".lock"):
            state["status"] = DEAD
        elif now - beat > _BEATS * every:
            state["status"] = STALE
    return dict(state)


def _unlocked(path: str) -> bool:
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(file)
    return True


def _take(file: int) -> None:
    """Lock a file; somebody who only looks whether it is locked has it for a moment."""
    for _ in range(_LOOKS):
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        time.sleep(0.01)
    raise BlockingIOError


@contextlib.contextmanager
def _where_it_can_be() -> Iterator[None]:
    """Go on where a folder cannot be locked, as on NFS."""
    try:
        yield
    except BlockingIOError:
        raise
    except OSError:
        return
