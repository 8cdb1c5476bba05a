"""`cas-tool stats`: what is in the store, and what it has saved."""

from __future__ import annotations

import argparse
import os
import sys
import time
from typing import TYPE_CHECKING, Any, Final

from stepaudio_cas.cli import figures, tables
from stepaudio_cas.cli.codes import FINE, FOUND
from stepaudio_cas.cli.filters import count
from stepaudio_cas.cli.stores import open_stores, read_settings
from stepaudio_cas.errors import SettingError
from stepaudio_cas.maintenance.sizes import STEPS
from stepaudio_cas.maintenance.statistics import TOP, Look, statistics
from stepaudio_cas.settings import Mode
from stepaudio_cas.store import layout
from stepaudio_cas.store.counters import zero
from stepaudio_cas.units import parse_seconds

if TYPE_CHECKING:
    from stepaudio_cas.store.store import Store

_TICK: Final = 2.0
_MOST_PROCESSES: Final = 4


def configure(parser: argparse.ArgumentParser) -> None:
    """Add what comes after `stats`."""
    parser.description = (
        "Say what the stores hold, and what all processes that use them have counted: calls,\n"
        "hits, misses, bypasses, errors, and the time that hits have saved. A process tells what\n"
        "it has counted within five seconds. A table on a terminal, one JSON line in a pipe."
    )
    parser.epilog = (
        "example:\n  cas-tool stats --watch\n  cas-tool stats --json | jq .hit_rate\n\n"
        "exit codes: 0 fine; 1 a store does not answer"
    )
    parser.add_argument(
        "--watch",
        nargs="?",
        const=_TICK,
        type=_seconds,
        metavar="SECONDS",
        help=f"say it again and again, until Ctrl-C [{_TICK:g}]",
    )
    parser.add_argument(
        "--zero",
        action="store_true",
        help="count anew from here; entries stay, and processes need no restart",
    )
    parser.add_argument(
        "--deep",
        action="store_true",
        help="read every manifest: entries and bytes of each plugin and model",
    )
    parser.add_argument(
        "--top", type=count, default=TOP, metavar="N", help=f"voices that are listed [{TOP}]"
    )


def main(options: argparse.Namespace) -> int:
    """Say it once, or until somebody has seen enough."""
    if options.zero:
        return _zero(options)
    source = _Source(options)
    drawn = tables.on_terminal() and not options.json
    if options.watch is None:
        found = source.read(bar=drawn)
        if drawn:
            tables.console().print(figures.draw(found))
        elif options.json:
            tables.document(found)
        else:
            tables.line(found)
        return _code(found)
    try:
        return _watch_drawn(source, options.watch) if drawn else _watch(source, options.watch)
    except KeyboardInterrupt:
        return FINE


def _watch(source: _Source, seconds: float) -> int:
    """Write one JSON line after the other."""
    while True:
        tables.line({"time": time.time(), **source.read()})
        sys.stdout.flush()
        time.sleep(seconds)


def _watch_drawn(source: _Source, seconds: float) -> int:
    """Redraw a screen of its own, and leave the last figures where the command was given."""
    found = source.read(bar=True)
    console = tables.console()
    try:
        with console.screen() as screen:
            while True:
                screen.update(figures.draw(found))
                time.sleep(seconds)
                found = source.read()
    except KeyboardInterrupt:
        console.print(figures.draw(found))
    return _code(found)


class _Source:
    """The stores that were asked for, and how to look at them."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._settings = read_settings(options)
        self._stores: list[Store] = open_stores(options)
        self._look = Look(
            deep=options.deep,
            top=options.top,
            remember=self._settings.mode is not Mode.RO,
            processes=min(_cores(), _MOST_PROCESSES),
        )

    def read(self, *, bar: bool = False) -> dict[str, Any]:
        with tables.progress("measuring", quiet=not bar, thread=False) as advance:
            deeply = len(layout.SHARDS) * self._look.deep
            advance(0, total=STEPS * len(self._stores) + deeply)
            return statistics(
                self._stores, look=self._look, max_size=self._settings.max_size, step=advance
            )


def _cores() -> int:
    """Say how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1


def _zero(options: argparse.Namespace) -> int:
    """Begin anew in every store of the chain: in each may be counters."""
    for store in open_stores(options, writing=True):
        zero(store.backend)
        if options.json:
            tables.line({"store": store.url, "zeroed": True})
        else:
            print(f"{store.url}: counting anew; no entry was touched")  # noqa: T201
    return FINE


def _code(found: dict[str, Any]) -> int:
    return FOUND if any(tier.get("error") for tier in found["tiers"]) else FINE


def _seconds(text: str) -> float:
    try:
        seconds = parse_seconds(text)
        if not 0 < seconds <= 86400:
            raise SettingError(f"{text!r} is not between nothing and a day")
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return seconds
