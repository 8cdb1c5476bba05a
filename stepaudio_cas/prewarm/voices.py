"""Recordings, wherever they are: files, folders, and any URL that fsspec knows."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import unquote, urlsplit

from stepaudio_cas.errors import SettingError
from stepaudio_cas.prewarm import listing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

SUFFIXES: Final = frozenset(
    (
        *(".aac", ".ac3", ".aif", ".aiff", ".amr", ".au", ".caf", ".flac", ".m4a", ".m4b"),
        *(".mka", ".mp2", ".mp3", ".mp4", ".oga", ".ogg", ".opus", ".snd", ".wav", ".wave"),
        *(".webm", ".wma", ".wv"),
    )
)
"""What is taken for a recording in a folder. Whether the host can load it, only the host knows."""

_UNFINISHED: Final = (".part", ".tmp", ".crdownload", ".partial", ".filepart", "~", "#")
_HIDDEN: Final = (".", "#", "~")
_NAMED: Final = 1000
"""So many of the files that are left out are named."""


class Voice(NamedTuple):
    """One recording: its absolute path or its URL, which is also its label."""

    label: str

    @property
    def remote(self) -> bool:
        """Whether it has to be fetched."""
        return "://" in self.label

    @property
    def name(self) -> str:
        """Its file name."""
        return self.label.rsplit("/", 1)[-1]


class _Place(NamedTuple):
    """One argument of a command: how its files are listed, and whether it is itself a recording."""

    text: str
    named: bool
    files: Callable[[Callable[[str], object]], Iterator[str]]


class Search:
    """The voices in files, folders and all folders in them, and URLs, found as they are asked for.

    A file that is named is a voice, whatever it is called. With several places, what is in more
    than one is found once, and for that names are kept; with one place none are.
    """

    def __init__(self, places: Iterable[str]) -> None:
        """Look whether all places are there. Raises `SettingError` for one that is not."""
        self._places = [_remote(p) if is_remote(p) else _local(_path(p)) for p in places]
        self.left_out: list[str] = []
        """The first files in folders that are no voices; `others` is how many there were."""
        self.others = 0
        self.troubles: list[str] = []
        """What could not be listed, and why."""

    def __iter__(self) -> Iterator[Voice]:
        """List them all. What is left out and cannot be read is noted meanwhile."""
        self.left_out, self.others, self.troubles = [], 0, []
        return map(Voice, self._labels(self._leave_out, self.troubles.append))

    def count(self, going_on: Callable[[], bool] = lambda: True) -> int | None:
        """List them all to say how many there are; None if it does not go on to the end."""
        number = 0
        for _ in self._labels(lambda _: None, lambda _: None):
            number += 1
            if not going_on():
                return None
        return number

    def _labels(
        self, other: Callable[[str], object], trouble: Callable[[str], object]
    ) -> Iterator[str]:
        seen: set[str] | None = set() if len(self._places) > 1 else None
        for place in self._places:
            try:
                for label in place.files(trouble):
                    if seen is not None and label in seen:
                        continue
                    if seen is not None:
                        seen.add(label)
                    if place.named or (is_voice(label) and _may_be_read(label)):
                        yield label
                    else:
                        other(label)
            except Exception as error:  # whatever a client raises
                trouble(f"{place.text}: {_said(error)}")

    def _leave_out(self, label: str) -> None:
        self.others += 1
        if self.others <= _NAMED:
            self.left_out.append(label)


def find(places: Iterable[str]) -> Search:
    """Find the voices at some places. Raises `SettingError` for a place that is not there."""
    return Search(places)


def is_voice(name: str) -> bool:
    """Tell by its name whether a file in a folder is a recording that is complete."""
    return not is_passing(name) and os.path.splitext(name)[1].lower() in SUFFIXES


def is_passing(name: str) -> bool:
    """Tell whether a name is hidden, or one that editors and downloads use until they are done."""
    last = name.rsplit("/", 1)[-1]
    return last.startswith(_HIDDEN) or last.lower().endswith(_UNFINISHED)


@contextlib.contextmanager
def at_hand(voice: Voice, *, apart: bool = False, copies: str | None = None) -> Iterator[str]:
    """Give the path of a voice while it is needed: a URL is fetched, under its own name.

    With `apart`, a file is copied: what is written to it meanwhile cannot come between the two
    times that it is read, once for its key and once by the host. In a folder `copies` they are made
    in one that this process goes on with: removing one for each voice takes longer than the rest.
    """
    if not voice.remote and not apart:
        yield voice.label
        return
    if copies is None:
        folder = tempfile.mkdtemp(prefix="stepaudio-cas-")
    else:
        folder = os.path.join(copies, f"{os.getpid()}-copies")
        for place in (copies, folder):
            os.makedirs(place, mode=0o700, exist_ok=True)
    path = os.path.join(folder, voice.name)
    try:
        if voice.remote:
            fs, root = _filesystem(voice.label)
            fs.get_file(root, path)
        else:
            shutil.copyfile(voice.label, path)
        yield path
    finally:
        _put_away(folder, path, keep=copies is not None)


def _put_away(folder: str, path: str, *, keep: bool) -> None:
    """Remove a copy, and whatever the host has put beside it: the next one may have its name."""
    with contextlib.suppress(OSError):
        if keep and os.listdir(folder) == [os.path.basename(path)]:
            os.unlink(path)
            return
    shutil.rmtree(folder, ignore_errors=True)


def is_remote(place: str) -> bool:
    """Tell whether what somebody has named is not on this machine."""
    scheme, separator, _ = place.partition("://")
    return bool(separator) and scheme != "file"


def _path(place: str) -> str:
    text = unquote(urlsplit(place).path) if place.startswith("file://") else place
    return os.path.abspath(Path(text).expanduser())


def _local(path: str) -> _Place:
    if os.path.isfile(path):
        return _Place(path, True, lambda _: iter((path,)))
    if os.path.isdir(path):
        try:
            os.scandir(path).close()
        except OSError as error:
            raise SettingError(f"{path}: {error.strerror}") from None
        return _Place(path, False, lambda trouble: listing.local(path, trouble))
    if os.path.exists(path):
        raise SettingError(f"{path}: it is neither a file nor a folder")
    raise SettingError(f"{path}: there is no such file or folder")


def _remote(url: str) -> _Place:
    try:
        fs, root = _filesystem(url)
        if fs.isfile(root):
            return _Place(url, True, lambda _: iter((url,)))
        first = next(listing.remote(fs, root), None)
    except Exception as error:  # whatever a client raises
        raise SettingError(f"{url}: {_said(error)}") from None
    if first is None:
        raise SettingError(f"{url}: there is nothing there")
    return _Place(url, False, lambda _: map(fs.unstrip_protocol, listing.remote(fs, root)))


def _may_be_read(label: str) -> bool:
    """Tell a file from a pipe, a device, and a link to nothing."""
    return "://" in label or os.path.isfile(label)


def _said(error: Exception) -> str:
    known = isinstance(error, (ImportError, ValueError))  # these say what they are
    return str(error) if known else f"{type(error).__name__}: {error}"


def _filesystem(url: str) -> tuple[Any, str]:
    import fsspec  # noqa: PLC0415 - only for URLs

    found: tuple[Any, str] = fsspec.core.url_to_fs(url)
    return found
