"""What a daemon says of itself, in a file for each folder; the locks that keep a second away."""

from __future__ import annotations

import contextlib
import fcntl
import glob
import hashlib
import json
import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from stepaudio_cas.errors import CasError, SettingError
from stepaudio_cas.prewarm.voices import is_passing
from stepaudio_cas.store.urls import local_root

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from stepaudio_cas.store.backend import Backend

FORMAT: Final = 1
STOPPED: Final = "stopped"
STALE: Final = "stale"
DEAD: Final = "dead"
_BEATS: Final = 3
"""A daemon that has said nothing for so many times as long as it should is stale."""

_LOOKS: Final = 10
_NO_FOLDER: Final = (FileExistsError, NotADirectoryError)
_REMEDY: Final = "; --state DIR names another place"


def default_folder() -> str:
    """Return where the states are unless somebody says otherwise."""
    base = os.environ.get("XDG_STATE_HOME") or Path("~/.local/state").expanduser()
    return os.path.join(base, "stepaudio-cas", "watch")


def default_spool() -> str:
    """Return where voices are kept that were sent over HTTP; not in a folder of states."""
    return os.path.join(os.path.dirname(default_folder()), "spool")


class Place:
    """Where the state of one folder is, with its lock and its ledgers.

    What is in folders that are `apart` is not looked at, should a link lead there.
    """

    def __init__(self, states: str, folder: str, apart: Sequence[str] = ()) -> None:
        digest = _digest(os.path.realpath(folder))
        last = "".join(c if c.isalnum() and c.isascii() else "_" for c in os.path.basename(folder))
        self._base = os.path.join(states, f"{last[:40]}-{digest}")
        self.folder, self.states, self.apart = folder, states, tuple(apart)
        self._before: bytes | None = None

    def ledger(self, host: str, store: str) -> str:
        """Where it is written down which keys are pinned in a store because of this folder.

        Another host has other keys, and what is in another store is not in this one: each has a
        ledger of its own, so that none unpins what it has not pinned.
        """
        return f"{self._base}-{_digest(host, store)}.pins"

    def others(self, host: str, stores: Sequence[str]) -> bool:
        """Tell whether voices in the folder are pinned for another host or store as well."""
        ours = {self.ledger(host, store) for store in stores}
        found = glob.glob(f"{glob.escape(self._base)}-*.pins")
        return any(path not in ours and _holds(path) for path in found)

    def lock(self) -> list[int]:
        """Take the folder for this process; return what holds it. Raises `CasError` if it is taken.

        The folder itself is locked, too, which is seen from other containers as well.
        """
        held: list[int] = []
        try:
            with _named(self.states):
                path, how = f"{self._base}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
                held.append(os.open(path, how, 0o644))
            _take(held[0])
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
        data = json.dumps({"format": FORMAT, "folder": self.folder, **document})
        self._put(data.encode("ascii"))

    def remember(self) -> None:
        """Keep in mind what was said before us, for `withdraw`."""
        self._before = None
        with contextlib.suppress(OSError), open(f"{self._base}.json", "rb") as file:
            self._before = file.read()

    def withdraw(self) -> None:
        """Say what was said before us, or nothing: we have not come to watch it."""
        with contextlib.suppress(OSError):
            if self._before is None:
                os.unlink(f"{self._base}.json")
            else:
                self._put(self._before)

    def _put(self, data: bytes) -> None:
        temporary = f"{self._base}.{os.getpid()}.tmp"
        try:
            with open(temporary, "wb") as file:
                file.write(data)
            os.replace(temporary, f"{self._base}.json")
        except OSError as error:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise OSError(error.errno, error.strerror, self.states) from None

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


def prepare(states: str, folders: Sequence[str], stores: Iterable[Backend] = ()) -> list[Place]:
    """Make the folder of the states. `stores` are those that voices are kept in.

    Raises `SettingError` if that is no folder, or if a folder is where we ourselves write. Raises
    `CasError` if it takes no states, or if a folder is in one that is watched already, or holds it.
    """
    roots = [root for store in stores if (root := local_root(store)) is not None]
    for folder in folders:
        for root in roots:
            _refuse_ours(folder, "the store", root)
        _refuse_ours(folder, "the state", states)
    with _named(states):
        os.makedirs(states, mode=0o755, exist_ok=True)
        descriptor, trial = tempfile.mkstemp(prefix="trial-", dir=states)
        os.close(descriptor)
        os.unlink(trial)
    for state in read_all(states):
        other = str(state["folder"])
        for folder in folders:
            nested = other != folder and (_inside(folder, other) or _inside(other, folder))
            if nested and state["status"] not in {STOPPED, DEAD} and state["pid"] != os.getpid():
                raise CasError(f"{folder}: {other} is watched already, by process {state['pid']}")
    places = [Place(states, folder, roots) for folder in folders]
    for place in places:
        place.remember()
    return places


def _refuse_ours(folder: str, what: str, root: str) -> None:
    """Refuse to take what we write for voices. In hidden folders nobody looks."""
    if _inside(folder, root):
        raise SettingError(f"{folder} is in {what} at {root}: name a folder with voices only")
    if _inside(root, folder):
        between = os.path.relpath(os.path.realpath(root), os.path.realpath(folder))
        if not any(map(is_passing, between.split(os.sep))):
            raise SettingError(
                f"{folder} has {what} in it, at {root}: move one of them, or name a folder with"
                " voices only"
            )


def _holds(ledger: str) -> bool:
    """Tell whether more has been written down in a ledger than was struck out again."""
    with contextlib.suppress(OSError), open(ledger, "rb") as file:
        data = file.read()
        return data.count(b'["+",') > data.count(b'["-",')
    return False


def _digest(*parts: str) -> str:
    data = b"\0".join(map(os.fsencode, parts))
    return hashlib.blake2b(data, digest_size=6).hexdigest()


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
    last = beat if state["status"] == DEAD else now
    for hand in state.get("in_hand", ()):
        hand["seconds"] = round(max(0.0, last - hand.get("since", last)), 1)
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
def _named(states: str) -> Iterator[None]:
    """Say that it is the folder of the states that takes nothing."""
    try:
        yield
    except OSError as error:
        kind = SettingError if isinstance(error, _NO_FOLDER) else CasError
        raise kind(f"{states} takes no state: {error.strerror}{_REMEDY}") from None


@contextlib.contextmanager
def _where_it_can_be() -> Iterator[None]:
    """Go on where a folder cannot be locked, as on NFS."""
    try:
        yield
    except BlockingIOError:
        raise
    except OSError:
        return
