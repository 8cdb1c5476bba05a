"""The queue of voices: what those say who watch folders, and what was sent to be encoded."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

from stepaudio_cas.prewarm import state
from stepaudio_cas.prewarm.folder import scan
from stepaudio_cas.prewarm.progress import BUSY, IDLE, TROUBLED
from stepaudio_cas.prewarm.voices import SUFFIXES
from stepaudio_cas.web.errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from stepaudio_cas.web.source import Source
    from stepaudio_cas.web.spool import Spool

ALIVE: Final = frozenset({BUSY, IDLE, TROUBLED})
FORGOTTEN: Final = 86400.0
"""Seconds after which nobody misses a daemon that has died."""

_MOVING: Final = ("waiting", "settling", "working")
_NOBODY: Final = (
    "nobody watches the folder of voices that are sent, {folder}: set STEPAUDIO_CAS_WATCH in the"
    " host, or run cas-tool watch on that folder"
)


class Prewarming:
    """Reads the states of whoever watches; it encodes nothing itself."""

    def __init__(self, source: Source, spool: Spool) -> None:
        self._source, self.spool = source, spool

    def states(self) -> list[dict[str, Any]]:
        """Return what those say who watch folders."""
        return state.read_all(self._source.states)

    def ours(self) -> list[dict[str, Any]]:
        """Return what those say whom health is about: in a host, who watches its folders."""
        found = self.states()
        if self._source.cache is not None:
            folders = {os.path.abspath(folder) for folder in self._source.settings.watch}
            return [one for one in found if one["folder"] in folders]
        return [one for one in found if float(one["silent"]) < FORGOTTEN]

    def document(self) -> dict[str, Any]:
        """Say it all."""
        watched = self.states()
        by = self._watching(watched)
        spool: dict[str, Any] = {
            "folder": self.spool.folder,
            "watched": by is not None,
            "max_bytes": self.spool.most_bytes,
            "max_file_bytes": self.spool.largest,
            "suffixes": sorted(SUFFIXES),
            "voices": [self._voice(voice, by) for voice in self.spool.voices()],
        }
        spool["used_bytes"] = sum(voice["bytes"] for voice in spool["voices"])
        return {"watched": watched, "spool": spool, "why_not": self.why_not(watched)}

    def why_not(self, watched: Sequence[Mapping[str, Any]] | None = None) -> str:
        """Say why nothing may be sent, or nothing."""
        if not self._source.writable:
            return "the mode is ro: nothing is changed here"
        if self._watching(self.states() if watched is None else watched) is None:
            return _NOBODY.format(folder=self.spool.folder)
        return ""

    def again(self, voice: str) -> dict[str, Any]:
        """Have a voice in a watched folder looked at anew: it is found by its name there.

        The name is compared with what we have listed ourselves, and is never a path.
        """
        named = []
        for one in self.states():
            folder = str(one["folder"])
            if one["status"] not in ALIVE or not os.path.isdir(folder):
                continue
            named += [
                (one, path)
                for path in scan(folder).voices
                if voice in {path, os.path.relpath(path, folder), os.path.basename(path)}
            ]
        if not named:
            raise ApiError(
                404, "no folder that is watched has such a voice",
                "GET api/v1/prewarm names the folders; put the file there, or send it",
            )  # fmt: skip
        if len({path for _, path in named}) > 1:
            raise ApiError(409, f"{len(named)} voices are called so", "give the path in the folder")
        one, path = named[0]
        was, why = _failure(one, path)
        try:
            status = os.stat(path)
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        except OSError as error:
            raise ApiError(
                403, f"its file may not be touched: {error.strerror}", "touch it yourself"
            ) from None
        return {
            "voice": os.path.relpath(path, str(one["folder"])), "folder": one["folder"],
            "state": "queued", "was": was, "why": why,
        }  # fmt: skip

    def _watching(self, watched: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
        ours = os.path.realpath(self.spool.folder)
        for one in watched:
            theirs = os.path.realpath(str(one["folder"]))
            if one["status"] in ALIVE and os.path.commonpath((ours, theirs)) == theirs:
                return one
        return None

    def _voice(self, voice: Mapping[str, Any], by: Mapping[str, Any] | None) -> dict[str, Any]:
        said = {name: voice[name] for name in ("id", "name", "bytes", "uploaded")}
        path = str(voice["path"])
        if by is None:
            return {**said, "state": "queued", "why": _NOBODY.format(folder=self.spool.folder)}
        found, why = _failure(by, path)
        if found == "failed":
            return {**said, "state": found, "why": why}
        moving = sum((by.get("voices") or {}).get(name, 0) for name in _MOVING)
        seen = float(by.get("beat", 0)) > float(voice["uploaded"]) + 1.0
        return {**said, "state": "kept" if seen and not moving else "queued", "why": ""}


def _failure(one: Mapping[str, Any], path: str) -> tuple[str, str]:
    for failure in one.get("failures", ()):
        if failure["voice"] == path:
            return "failed", str(failure["why"])
    return "unknown", ""
