"""How those do who watch folders: for people, for programs, and for health checks."""

from __future__ import annotations

import os
import sys
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
    found = [one for one in state.read_all(states) if not _is_over(one)]
    if not found and not as_document:
        _say_nothing(states)
    if folders:
        wanted = [os.path.abspath(os.path.expanduser(folder)) for folder in folders]
        known = {str(one["folder"]): one for one in found}
        found = [known.get(folder, {"folder": folder, "status": "unknown"}) for folder in wanted]
    if as_document:
        tables.document({"state": states, "folders": found})
    elif not tables.on_terminal():
        for one in found:
            tables.line(one)
    elif found:
        _draw(found)
    return FINE if found and all(one["status"] in {BUSY, IDLE} for one in found) else FOUND


def _is_over(one: dict[str, Any]) -> bool:
    """Tell whether nobody is missed: a run that was to end has, or the folder was given up."""
    ended = one["status"] in {state.STOPPED, state.DEAD}
    given_up = one["status"] == state.STOPPED and not os.path.lexists(str(one["folder"]))
    return bool(one.get("once") and ended) or given_up


def _say_nothing(states: str) -> None:
    text = f"no daemon has said anything in {states}: start one with cas-tool watch FOLDER…"
    print(f"cas-tool: {text} --host HOST, or name its --state", file=sys.stderr)  # noqa: T201


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
