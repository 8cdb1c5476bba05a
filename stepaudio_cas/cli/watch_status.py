"""How those do who watch folders: for people, for programs, and for health checks."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from stepaudio_cas.cli import tables
from stepaudio_cas.cli.codes import FINE, FOUND
from stepaudio_cas.prewarm import state
from stepaudio_cas.prewarm.progress import BUSY, IDLE

if TYPE_CHECKING:
    from collections.abc import Sequence

_FAILURES = 20


def show(states: str, folders: Sequence[str], *, as_document: bool) -> int:
    """Say it; return 0 if every folder, or every one that is named, is watched as it should be."""
    found = state.read_all(states)
    if folders:
        wanted = [os.path.abspath(os.path.expanduser(folder)) for folder in folders]
        known = {str(one["folder"]): one for one in found}
        found = [known.get(folder, {"folder": folder, "status": "unknown"}) for folder in wanted]
    if as_document:
        tables.document({"state": states, "folders": found})
    elif not tables.on_terminal():
        for one in found:
            tables.line(one)
    elif not found:
        tables.say(f"nobody watches a folder, or says so in {states}")
    else:
        _draw(found)
    return FINE if found and all(one["status"] in {BUSY, IDLE} for one in found) else FOUND


def _draw(found: Sequence[dict[str, Any]]) -> None:
    columns = ("FOLDER", "STATUS", "DONE", "TO DO", "FAILED", "LEFT OUT", "BY", "LAST SIGN")
    tables.rows(columns, map(_row, found), right=("DONE", "TO DO", "FAILED", "LEFT OUT"))
    for one in found:
        if one.get("trouble"):
            tables.say(f"{one['folder']}: {one['trouble']}", style="red")
        for hand in one.get("in_hand", ()):
            tables.say(f"in hand for {tables.age(hand['seconds'])}: {hand['voice']}")
        failures = one.get("failures", [])
        for failure in failures[:_FAILURES]:
            again = failure["again_in"]
            when = "when it changes" if again is None else f"in {tables.age(again)}"
            tables.say(f"failed: {failure['voice']}: {failure['why']}; again {when}", style="red")
        more = len(failures) - _FAILURES + int(one.get("failures_not_named", 0))
        if more > 0:
            tables.say(f"and {more} more; --json names them")


def _row(one: dict[str, Any]) -> tuple[str, ...]:
    voices = one.get("voices")
    if voices is None:
        return (one["folder"], one["status"], *[""] * 6)
    left = voices["waiting"] + voices["settling"] + voices["working"]
    to_do = str(left)
    if left and one["seconds_left"] is not None:
        to_do += f", {tables.age(one['seconds_left'])} at {one['rate']:.1f}/s"
    return (
        one["folder"],
        one["status"],
        str(voices["done"]),
        to_do,
        str(voices["failed"]),
        str(one["left_out"]),
        one["mode"],
        f"{tables.age(one['silent'])} ago",
    )
