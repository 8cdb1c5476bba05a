"""`cas-tool sync`: copies what one store has and another lacks."""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING

from stepaudio_cas.cli import filters, tables
from stepaudio_cas.cli.codes import FINE, FOUND
from stepaudio_cas.cli.stores import open_one
from stepaudio_cas.errors import SettingError
from stepaudio_cas.maintenance.selection import EVERYTHING, pinned_as
from stepaudio_cas.maintenance.sync import COPIED, DELETED, HEALED, PINNED, THERE, Event, Sync
from stepaudio_cas.settings import PREFIX, Mode, Settings, read_settings, split_stores
from stepaudio_cas.store.urls import local_root
from stepaudio_cas.units import show_bytes

if TYPE_CHECKING:
    import argparse

    from stepaudio_cas.store.store import Store

_TOLD = (COPIED, HEALED, THERE, DELETED, PINNED, "damaged", "refused", "failed")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add what comes after `sync`."""
    parser.description = (
        "Copy the entries that DST lacks from SRC, with the fingerprints they refer to. Each is\n"
        "checked on the way; one that is damaged in SRC is named and left out. What DST has\n"
        "stays, even if SRC has another artifact: first writer wins. It is not looked into: what\n"
        "is damaged there, or signed by somebody else, cas-tool verify finds. Objects are copied\n"
        "before their manifests; if it is interrupted, the next run does the rest.\n\n"
        "--delete removes the entries of DST that SRC lacks (with filters: of those that are\n"
        "meant), but never what is pinned there; their objects are left to gc."
    )
    parser.epilog = (
        "example:\n  cas-tool sync /srv/voices s3://fleet/voices\n"
        "  cas-tool sync s3://fleet/voices /srv/voices --label 'preset-*' --pins --dry-run\n\n"
        "exit codes: 0 DST has it all, 1 something could not be copied, 2 wrong usage"
    )
    parser.add_argument("source", metavar="SRC", help="a path or URL")
    parser.add_argument("target", metavar="DST", help="a path or URL")
    filters.add(parser)
    parser.add_argument("--pins", action="store_true", help="copy pins too")
    parser.add_argument("--delete", action="store_true", help="remove from DST what SRC lacks")
    parser.add_argument("--dry-run", action="store_true", help="only say what it would do")


def main(options: argparse.Namespace) -> int:
    """Copy."""
    settings = _settings()
    if settings.mode is Mode.RO and not options.dry_run:
        raise SettingError(f"{PREFIX}_MODE is ro: nothing is changed here; unset it to do so")
    source, target = (_open(url, settings) for url in (options.source, options.target))
    _check(options, source, target)
    selection = filters.selection(options)
    named = pinned_as(source.backend, selection)
    sync = Sync(
        source,
        target,
        matches=None if selection == EVERYTHING else selection.matcher(pins=named),
        delete=options.delete,
        pins=options.pins,
        dry=options.dry_run,
    )
    drawn = tables.on_terminal() and not options.json
    counts: Counter[str] = Counter()
    wrong: list[Event] = []
    size = 0
    with tables.progress("copying", quiet=options.json) as advance:
        advance(0, total=sync.steps)
        for event in sync.run(advance):
            counts[event.what] += 1
            size += event.bytes if event.what in {COPIED, HEALED} else 0
            if not drawn and (event.is_wrong or options.dry_run or event.what == DELETED):
                tables.line({"event": event.what, "key": event.key, "detail": event.detail})
            elif drawn and event.is_wrong:
                wrong.append(event)
    if not drawn:
        told = {name: counts[name] for name in _TOLD}
        ends = {"source": source.url, "target": target.url, "dry_run": options.dry_run}
        tables.line({"summary": {**ends, "entries": sync.entries, **told, "bytes": size}})
    else:
        for event in wrong:
            tables.say(f"{event.what}: {event.key}: {event.detail}")
        tables.say(_said(options, sync, counts, size))
    return FOUND if counts["damaged"] + counts["refused"] + counts["failed"] else FINE


def _said(options: argparse.Namespace, sync: Sync, counts: Counter[str], size: int) -> str:
    parts = [f"{counts[name]:,} {name}" for name in _TOLD if counts[name]]
    would = "would be: " if options.dry_run else ""
    done = ", ".join(parts) if parts else "nothing to do"
    return f"{sync.entries:,} entries in {options.source}; {would}{done} ({show_bytes(size)})"


def _open(text: str, settings: Settings) -> Store:
    try:
        urls = split_stores(text)
    except ValueError as error:
        raise SettingError(str(error)) from None
    if len(urls) != 1:
        raise SettingError(f"{text}: one store, please")
    return open_one(urls[0], settings)


def _settings() -> Settings:
    """Read the settings; the stores among them do not matter here."""
    settings, problems = read_settings({**os.environ, PREFIX: "off"})
    for problem in problems:
        raise SettingError(str(problem))
    return settings


def _check(options: argparse.Namespace, source: Store, target: Store) -> None:
    """Refuse what can only be a mistake."""
    if options.store is not None:
        raise SettingError("sync takes two stores, SRC and DST, and no --store")
    root, other = local_root(source.backend), local_root(target.backend)
    if root is not None and not os.path.isdir(root):
        raise SettingError(f"{options.source}: there is no such folder")
    same = source.url == target.url
    if root is not None and other is not None and os.path.exists(other):
        same = same or os.path.samefile(root, other)
    if same:
        raise SettingError("SRC and DST are the same store")
