"""Tables on a terminal, JSON lines in a pipe, and a bar for what takes long."""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from rich.console import Console
    from rich.progress import Progress

BAR_AFTER: Final = 0.5
"""What takes no longer than this, in seconds, has no bar."""

_REDRAW: Final = 0.1
_NAMES: Final = 14
"""Columns for the names of fields."""


class Advance(Protocol):
    """Tells a bar how far the work is."""

    def __call__(self, steps: float = 1, *, total: float | None = None) -> None: ...


def on_terminal() -> bool:
    """Tell whether a person reads what is written."""
    return sys.stdout.isatty()


def console(*, errors: bool = False) -> Console:
    """Return where tables and bars are drawn; colours obey `NO_COLOR` and `TERM`."""
    from rich.console import Console  # noqa: PLC0415 - not for verbs that draw nothing

    stream = sys.stderr if errors else sys.stdout
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")  # what its encoding lacks is escaped
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return Console(
        file=stream,
        highlight=False,
        emoji=False,
        color_system=None if plain else "auto",
        soft_wrap=not stream.isatty(),
    )


def rows(
    columns: Sequence[str], lines: Iterable[Sequence[str]], *, right: Sequence[str] = ()
) -> None:
    """Draw a table; the columns named in `right` are numbers."""
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(
            column,
            justify="right" if column in right else "left",
            no_wrap=column in right,
            overflow="fold",
        )
    for line in lines:
        table.add_row(*(Text(clean(cell)) for cell in line))
    console().print(table)


def say(text: str = "", *, style: str = "") -> None:
    """Write one line for a person; it is the terminal that folds it, so that paths stay whole."""
    from rich.text import Text  # noqa: PLC0415

    console().print(Text(clean(text).rstrip(), style=style), soft_wrap=True)


def field(name: str, text: str, *, style: str = "") -> None:
    """Write `name   text`, the text folded under itself."""
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    line = Table.grid(padding=(0, 2))
    line.add_column(width=_NAMES, no_wrap=True)
    line.add_column(overflow="fold")
    line.add_row(Text(clean(name), style="dim"), Text(clean(text), style=style))
    console().print(line)


def clean(text: str) -> str:
    """Escape what is not printable: a name in a store must not steer somebody's terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def width() -> int:
    """Say how many columns a line of the terminal has."""
    return shutil.get_terminal_size().columns


def age(seconds: float) -> str:
    """Write for people how long ago something was."""
    if seconds < 60:
        return f"{max(seconds, 0):.0f} s"
    for unit, length, most in (("min", 60, 120), ("h", 3600, 48), ("d", 86400, 730)):
        if seconds < length * most:
            return f"{seconds // length:.0f} {unit}"
    return f"{seconds // 31536000:.0f} y"


def document(value: Any) -> None:
    """Write one JSON document."""
    print(json.dumps(value, indent=2))  # noqa: T201 - a tool talks


def line(value: Mapping[str, Any]) -> None:
    """Write one JSON line."""
    print(json.dumps(value, separators=(",", ":")))  # noqa: T201 - a tool talks


@contextmanager
def progress(
    what: str, *, quiet: bool = False, rate: bool = False, thread: bool = True
) -> Iterator[Advance]:
    """Show a bar on stderr once something takes longer than `BAR_AFTER`; nothing in a pipe.

    Without `thread` it is drawn as the work goes on, so that the process may fork meanwhile.
    """
    if quiet or not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield _nothing
        return
    bar = _make_bar(refresh=thread)
    task = bar.add_task(what, total=None, rate="")
    drawn = time.monotonic() + BAR_AFTER - _REDRAW

    def advance(steps: float = 1, *, total: float | None = None) -> None:
        nonlocal drawn
        if total is not None:
            bar.update(task, total=total)
        bar.advance(task, steps)
        speed = bar.tasks[0].speed
        if rate and speed:
            bar.update(task, rate=f"{speed:.1f}/s")
        if thread or time.monotonic() <= drawn + _REDRAW:
            return
        drawn = time.monotonic()
        if bar.live.is_started:
            bar.refresh()
        else:
            bar.start()

    later = threading.Timer(BAR_AFTER, bar.start)
    later.daemon = True
    try:
        if thread:
            later.start()
        yield advance
    finally:
        if thread:
            later.cancel()
            later.join()
        bar.stop()


def is_shown(advance: Advance) -> bool:
    """Tell whether somebody may see a bar that `progress` has given."""
    return advance is not _nothing


def _make_bar(*, refresh: bool) -> Progress:
    from rich.progress import (  # noqa: PLC0415
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        console=console(errors=True),
        transient=True,
        auto_refresh=refresh,
    )


def _nothing(steps: float = 1, *, total: float | None = None) -> None:
    """Stand in for a bar where nobody looks."""
