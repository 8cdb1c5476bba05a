"""Tables on a terminal, JSON lines in a pipe, and a bar for what takes long."""

from __future__ import annotations

import json
import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from rich.console import Console


class Advance(Protocol):
    """Tells a bar how far the work is."""

    def __call__(self, steps: float = 1, *, total: float | None = None) -> None: ...


def on_terminal() -> bool:
    """Tell whether a person reads what is written."""
    return sys.stdout.isatty()


def console(*, errors: bool = False) -> Console:
    """Return where tables and bars are drawn; colours obey `NO_COLOR` and `TERM`."""
    from rich.console import Console  # noqa: PLC0415 - not for verbs that draw nothing

    return Console(stderr=errors, highlight=False, soft_wrap=not on_terminal())


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
        table.add_row(*(Text(cell) for cell in line))
    console().print(table)


def document(value: Any) -> None:
    """Write one JSON document."""
    print(json.dumps(value, indent=2))  # noqa: T201 - a tool talks


def line(value: Mapping[str, Any]) -> None:
    """Write one JSON line."""
    print(json.dumps(value, separators=(",", ":")))  # noqa: T201 - a tool talks


@contextmanager
def progress(what: str, *, quiet: bool = False) -> Iterator[Advance]:
    """Show a bar on stderr while something takes long; nothing in a pipe."""
    if quiet or not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield _nothing
        return
    from rich.progress import (  # noqa: PLC0415
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    parts = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*parts, console=console(errors=True), transient=True) as bar:
        task = bar.add_task(what, total=None)

        def advance(steps: float = 1, *, total: float | None = None) -> None:
            if total is not None:
                bar.update(task, total=total)
            bar.advance(task, steps)

        yield advance


def _nothing(steps: float = 1, *, total: float | None = None) -> None:
    """Stand in for a bar where nobody looks."""
