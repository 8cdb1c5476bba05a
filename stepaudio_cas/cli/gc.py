"""`cas-tool gc`: remove what is used least, down to a size, an age or a number."""

from __future__ import annotations

import os
import sys
from contextlib import nullcontext
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Final

from stepaudio_cas.cli import filters, tables
from stepaudio_cas.cli.codes import FINE, FOUND
from stepaudio_cas.cli.stores import open_first
from stepaudio_cas.errors import SettingError
from stepaudio_cas.maintenance import account
from stepaudio_cas.maintenance.gc import CURRENT, STEPS, Asked, Collector
from stepaudio_cas.maintenance.plan import Bounds, Fate, Sum
from stepaudio_cas.maintenance.sweep import going
from stepaudio_cas.store import layout
from stepaudio_cas.store.urls import local_root
from stepaudio_cas.units import show_bytes

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from stepaudio_cas.maintenance.plan import Plan
    from stepaudio_cas.maintenance.sweep import Swept
    from stepaudio_cas.store.backend import Backend

_DESCRIPTION: Final = """\
Remove entries of the first store until it keeps within the bounds that are given, and, always,
what nothing refers to: objects, files of writers that were killed, descriptions of models. Objects
and files go when they are an hour old, descriptions after a day. What is pinned stays, and so does
what was written in the last minute. Readers, writers and a second gc may be at work
meanwhile. A use counts to the hour.

Entries of a current model are those of the model that the newest entry of the same plugin and
schema has, and of any model that was used within a day."""
_EPILOG: Final = """\
example:
  cas-tool gc --max-size 50GB --max-age 90d
  cas-tool gc --max-age 90d,funasr=2h,sensevoice=2h
  cas-tool gc --keep-model current --dry-run
  cas-tool gc --plugin stepaudio --max-entries 10000 --policy value

exit codes: 0 done, 1 not done or not all of it, 2 wrong usage"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add what comes after `gc`."""
    parser.description, parser.epilog = _DESCRIPTION, _EPILOG
    bounds = parser.add_argument_group("bounds")
    bounds.add_argument(
        "--max-size", metavar="SIZE", type=filters.size, help="keep within 512MB, 50GB, 1.5TiB"
    )
    bounds.add_argument(
        "--max-age",
        metavar="TIME",
        type=filters.lifetimes,
        help="remove what was not used for 90d; 90d,funasr=2h: of a plugin, for another time",
    )
    bounds.add_argument(
        "--max-entries", metavar="N", type=filters.count, help="keep within so many entries"
    )
    bounds.add_argument(
        "--keep-model",
        metavar="ID",
        nargs="+",
        action="extend",
        default=[],
        help=f"remove entries of all other models; {CURRENT!r}: of those not in use",
    )
    parser.add_argument(
        "--plugin", metavar="NAME", help="only entries of a plugin, or of schemas by a glob"
    )
    parser.add_argument(
        "--policy",
        choices=("lru", "value"),
        default="lru",
        help="who goes first for a size or a number: what was used longest ago [lru],"
        " or what saves the fewest seconds for its bytes",
    )
    parser.add_argument("--dry-run", action="store_true", help="say what would go, and stop there")


def main(options: argparse.Namespace) -> int:
    """Plan, say the plan and, unless that is all, do it."""
    backend = open_first(options, writing=not options.dry_run).backend
    root = local_root(backend)
    if root is not None and not os.path.isdir(root):
        raise SettingError(f"there is no store at {root}")
    asked = _asked(options)
    collector = Collector(backend, asked, look_only=options.dry_run)
    with nullcontext() if options.dry_run else collector.alone():
        with tables.progress("looking", quiet=options.json) as advance:
            advance(0, total=STEPS)
            plan = collector.plan(advance)
        _say_plan(backend, plan, options)
        swept = None
        if not options.dry_run:
            with tables.progress("removing", quiet=options.json) as advance:
                advance(0, total=len(layout.SHARDS))
                swept = collector.sweep(plan, advance)
    return _end(backend, plan, asked, swept, options)


def _asked(options: argparse.Namespace) -> Asked:
    bounds = Bounds(
        max_size=options.max_size,
        max_age=options.max_age,
        max_entries=options.max_entries,
        by_value=options.policy == "value",
    )
    return Asked(bounds, options.plugin, tuple(options.keep_model))


def _say_plan(backend: Backend, plan: Plan, options: argparse.Namespace) -> None:
    if options.json:
        for item in _items(backend, plan):
            tables.line(item)
    if options.json or not tables.on_terminal():
        return
    total, going_ = plan.total, plan.going
    tables.say(
        f"{backend.url}: {total.entries:,} entries, {total.objects:,} objects,"
        f" {show_bytes(total.bytes)}"
    )
    lines = [(*key, sum_) for key, sum_ in account.sums(plan)]
    if lines:
        tables.rows(
            ("reason", "model", "entries", "objects", "bytes"),
            [(reason, model[:12] or "-", *_cells(sum_)) for reason, model, sum_ in lines]
            + [("in all", "", *_cells(going_))],
            right=("entries", "objects", "bytes"),
        )
    for count, text in _stays(plan):
        if count:
            tables.say(f"{count:,} {text}")


def _cells(sum_: Sum) -> tuple[str, str, str]:
    return f"{sum_.entries:,}", f"{sum_.objects:,}", show_bytes(sum_.bytes)


def _stays(plan: Plan) -> Iterator[tuple[int, str]]:
    yield plan.staying(Fate.PINNED), "pinned entries stay"
    yield plan.staying(Fate.RECENT), "entries of the last minute stay"
    yield plan.staying(Fate.FOREIGN), "entries of a newer version stay"
    yield plan.young_orphans, "objects that nothing refers to yet stay for now"


def _items(backend: Backend, plan: Plan) -> Iterator[dict[str, Any]]:
    """Yield every document that goes; the object of an entry goes with it."""
    for shard in layout.SHARDS:
        for key, _, row in going(backend, plan, shard):
            yield {
                "kind": "entry",
                "key": key,
                "reason": account.REASONS[Fate(plan.fates[row])],
                "model": plan.model_of(row),
                "bytes": plan.size_of(row),
                "used": datetime.fromtimestamp(plan.used[row], timezone.utc).isoformat(),
            }
    for at in range(0, len(plan.orphans), 32):
        digest = plan.orphans[at : at + 32].hex()
        yield {"kind": "object", "object": digest, "reason": account.UNREFERENCED}
    for kind, reason, found in (
        ("temporary", account.LEFT, plan.leftovers),
        ("fingerprint", account.UNUSED, plan.fingerprints),
    ):
        for path, size in found:
            yield {"kind": kind, "path": path, "reason": reason, "bytes": size}


def _end(
    backend: Backend, plan: Plan, asked: Asked, swept: Swept | None, options: argparse.Namespace
) -> int:
    """Say what has been done, or would be."""
    missed = plan.short_of(asked.bounds)
    failures = swept.failures if swept is not None else []
    if options.json or not tables.on_terminal():
        tables.line(account.summary(backend, plan, swept, missed))
    else:
        _say_end(plan, swept, missed)
    for failure in failures[:3]:
        print(f"cas-tool: not removed: {failure}", file=sys.stderr)  # noqa: T201
    return FOUND if failures else FINE


def _say_end(plan: Plan, swept: Swept | None, missed: tuple[int, int]) -> None:
    if any(missed):
        left = f"{missed[0]:,} entries and {show_bytes(missed[1])}"
        tables.say(f"what has to stay is over the bounds by {left}")
    going_ = plan.going
    if swept is None:
        tables.say(f"would free {show_bytes(going_.bytes)}; nothing was removed")
        return
    spared = f"; {swept.spared:,} had been used since and stay" if swept.spared else ""
    tables.say(
        f"removed {swept.entries:,} entries and {swept.objects:,} objects,"
        f" freed {show_bytes(swept.bytes)}{spared}"
    )
