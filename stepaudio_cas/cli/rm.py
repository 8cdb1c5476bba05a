"""`cas-tool rm`: remove entries that are named, or that filters find."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

from stepaudio_cas.cli import entries, filters, tables
from stepaudio_cas.cli.codes import FINE, FOUND
from stepaudio_cas.cli.stores import open_first
from stepaudio_cas.errors import SettingError
from stepaudio_cas.maintenance.removal import Plan, Removed, carry_out, make_plan
from stepaudio_cas.maintenance.selection import EVERYTHING, Wanted, wanted
from stepaudio_cas.units import show_bytes

if TYPE_CHECKING:
    import argparse

    from stepaudio_cas.store.store import Store

_SHOWN: Final = 10


def configure(parser: argparse.ArgumentParser) -> None:
    """Add what comes after `rm`."""
    parser.description = (
        "Remove entries of the first store, and the objects that no other entry refers to. What\n"
        "is pinned stays. Processes that run keep what they have in memory. An object that was\n"
        "written less than an hour ago stays for gc: a writer may be about to refer to it."
    )
    parser.epilog = (
        "example:\n  cas-tool rm anna.wav\n  cas-tool rm --model 4f1c --older 30d --dry-run\n\n"
        "exit codes: 0 done, 1 not there, pinned or not agreed to, 2 nothing selected"
    )
    filters.add_words(parser, "a key, how one begins, or a voice, which may be a glob")
    filters.add(parser)
    add_how(parser)
    parser.add_argument("--pinned", action="store_true", help="also what is pinned, and its pin")
    parser.add_argument(
        "--keep-objects",
        action="store_true",
        help="leave objects to gc; then the other entries need not be read",
    )


def add_how(parser: argparse.ArgumentParser) -> None:
    """Add what all verbs that remove have."""
    parser.add_argument("--dry-run", action="store_true", help="only say what it would free")
    parser.add_argument("-y", "--yes", action="store_true", help="do not ask")


def main(options: argparse.Namespace) -> int:
    """Remove."""
    selection, words = filters.selection(options), filters.words(options)
    if selection == EVERYTHING and not words:
        raise SettingError(
            "rm what? Give keys, voices or filters; cas-tool clear removes everything"
        )
    store = open_first(options, writing=not options.dry_run)
    meant = wanted(store.backend, selection, words)
    return remove(
        options, store, meant, pinned_too=options.pinned, objects=not options.keep_objects
    )


def remove(
    options: argparse.Namespace,
    store: Store,
    meant: Wanted,
    *,
    pinned_too: bool,
    objects: bool = True,
) -> int:
    """Plan, ask if there is somebody to ask, and do it."""
    quiet = options.json
    with tables.progress("looking", quiet=quiet) as advance:
        advance(0, total=256)
        plan = make_plan(
            store, meant, pinned_too=pinned_too, objects=objects, step=lambda _: advance()
        )
    if options.dry_run or not plan.entries:
        _say(options, store, plan, None)
        return FOUND if plan.pinned and not plan.entries else FINE
    if not options.yes and not _agreed(options, store, plan):
        return FOUND
    with tables.progress("removing", quiet=quiet) as advance:
        advance(0, total=len(plan.entries) + len(plan.objects))
        removed = carry_out(store, plan, advance=advance)
    _say(options, store, plan, removed)
    return FINE


def _agreed(options: argparse.Namespace, store: Store, plan: Plan) -> bool:
    if options.json or not (sys.stdin.isatty() and tables.on_terminal()):
        raise SettingError("nobody is here to be asked: say --yes, or --dry-run to look first")
    _list(plan)
    tables.say(f"{_count(plan)} in {store.url}{_stays(plan)}")
    try:
        answer = input("Remove this? [y/N] ")
    except EOFError:
        answer = ""
    if answer.strip().lower() in {"y", "yes"}:
        return True
    tables.say("nothing was removed")
    return False


def _say(options: argparse.Namespace, store: Store, plan: Plan, removed: Removed | None) -> None:
    if options.json or not tables.on_terminal():
        tables.line(_document(options, store, plan, removed))
        return
    if removed is not None:
        text = f"{entries.count(removed.entries)} and {removed.objects:,} objects removed"
        tables.say(f"{text}, {show_bytes(removed.bytes)} freed{_stays(plan)}")
    elif not plan.entries:
        tables.say(f"nothing to remove from {store.url}{_stays(plan)}")
    else:
        _list(plan)
        tables.say(f"would be removed: {_count(plan)} in {store.url}{_stays(plan)}")


def _document(
    options: argparse.Namespace, store: Store, plan: Plan, removed: Removed | None
) -> dict[str, Any]:
    done = removed or Removed(len(plan.entries), len(plan.objects), plan.bytes)
    return {
        "store": store.url,
        "dry_run": options.dry_run,
        **done._asdict(),
        "pinned": plan.pinned,
        "shared_objects": plan.shared,
        "young_objects": plan.young,
        "keys": [key for key, _ in plan.entries],
    }


def _list(plan: Plan) -> None:
    """Name the first few."""
    for number, (key, _) in enumerate(plan.entries):
        if number == _SHOWN:
            tables.say(f"… and {len(plan.entries) - _SHOWN:,} more", style="dim")
            break
        tables.say(f"{key[: entries.DIGITS]}  {plan.names.get(key, '')}".rstrip())


def _count(plan: Plan) -> str:
    objects = f"{len(plan.objects):,} objects"
    return f"{entries.count(len(plan.entries))} and {objects}, {show_bytes(plan.bytes)},"


def _stays(plan: Plan) -> str:
    """Say what stays although it was asked for, or seems to have been."""
    parts = []
    if plan.pinned:
        parts.append(f"{entries.count(plan.pinned)} pinned")
    if plan.shared:
        parts.append(f"{plan.shared:,} objects that others refer to")
    if plan.young:
        parts.append(f"{plan.young:,} objects younger than an hour, for gc")
    return f"; what stays: {', '.join(parts)}" if parts else ""
