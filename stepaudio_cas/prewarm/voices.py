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

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

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


class Found(NamedTuple):
    """What the arguments of a command mean: voices in order, and files in folders that are none."""

    voices: list[Voice]
    left_out: list[str]


def find(places: Iterable[str]) -> Found:
    """Find the voices in files, folders (with all folders in them) and URLs.

    A file that is named is a voice, whatever it is called. Raises `SettingError` for a place that
    is not there.
    """
    voices: dict[str, None] = {}
    left_out: list[str] = []
    for place in places:
        named, files = _remote(place) if _is_remote(place) else _local(_path(place))
        for label in sorted(files):
            if named or (is_voice(label) and ("://" in label or os.path.isfile(label))):
                voices[label] = None
            else:
                left_out.append(label)
    return Found([Voice(label) for label in voices], left_out)


def is_voice(name: str) -> bool:
    """Tell by its name whether a file in a folder is a recording that is complete."""
    return not is_passing(name) and os.path.splitext(name)[1].lower() in SUFFIXES


def is_passing(name: str) -> bool:
    """Tell whether a name is hidden, or one that editors and downloads use until they are done."""
    last = name.rsplit("/", 1)[-1]
    return last.startswith(_HIDDEN) or last.lower().endswith(_UNFINISHED)


@contextlib.contextmanager
def at_hand(voice: Voice, *, apart: bool = False) -> Iterator[str]:
    """Give the path of a voice while it is needed: a URL is fetched, under its own name.

    With `apart`, a file is copied: what is written to it meanwhile cannot come between the two
    times that it is read, once for its key and once by the host.
    """
    if not voice.remote and not apart:
        yield voice.label
        return
    folder = tempfile.mkdtemp(prefix="stepaudio-cas-")
    try:
        path = os.path.join(folder, voice.name)
        if voice.remote:
            fs, root = _filesystem(voice.label)
            fs.get_file(root, path)
        else:
            shutil.copyfile(voice.label, path)
        yield path
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _is_remote(place: str) -> bool:
    scheme, separator, _ = place.partition("://")
    return bool(separator) and scheme != "file"


def _path(place: str) -> str:
    text = unquote(urlsplit(place).path) if place.startswith("file://") else place
    return os.path.abspath(Path(text).expanduser())


def _local(path: str) -> tuple[bool, list[str]]:
    if os.path.isfile(path):
        return True, [path]
    if not os.path.isdir(path):
        raise SettingError(f"{path}: there is no such file or folder")
    found, seen = [], set()
    for folder, folders, files in os.walk(path, followlinks=True, onerror=_refuse):
        real = os.path.realpath(folder)
        if real in seen:  # a link back to where we have been
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [os.path.join(folder, name) for name in files]
    return False, found


def _refuse(error: OSError) -> None:
    raise SettingError(f"{error.filename}: {error.strerror}")


def _remote(url: str) -> tuple[bool, list[str]]:
    try:
        fs, root = _filesystem(url)
        if fs.isfile(root):
            return True, [url]
        files = fs.find(root)
    except (ImportError, ValueError) as error:
        raise SettingError(f"{url}: {error}") from None
    except Exception as error:  # whatever a client raises
        raise SettingError(f"{url}: {type(error).__name__}: {error}") from None
    if not files:
        raise SettingError(f"{url}: there is nothing there")
    return False, [fs.unstrip_protocol(name) for name in files]


def _filesystem(url: str) -> tuple[Any, str]:
    import fsspec  # noqa: PLC0415 - only for URLs

    found: tuple[Any, str] = fsspec.core.url_to_fs(url)
    return found
