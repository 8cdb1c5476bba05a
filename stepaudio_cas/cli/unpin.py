"""`cas-tool unpin`: let gc have entries again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stepaudio_cas.cli import entries, filters, tables
from stepaudio_cas.cli.codes import FINE
from stepaudio_cas.cli.pin import say
from stepaudio_cas.cli.stores import open_first
from stepaudio_cas.errors import SettingError
from stepaudio_cas.maintenance.pins import chosen, unpin
from stepaudio_cas.maintenance.selection import EVERYTHING

if TYPE_CHECKING:
    import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """Add what comes after `unpin`."""
    parser.description = (
        "Take pins of the first store away. The entries stay until gc, rm or the bounds of the\n"
        "store remove them. A pin whose entry is not there is taken away by its whole key, or by\n"
        "how that begins."
    )
    parser.epilog = (
        "example:\n  cas-tool unpin 'preset-*.wav'\n  cas-tool unpin --all --dry-run\n\n"
        "exit codes: 0 done, 1 not there, 2 nothing was selected"
    )
    filters.add_words(parser, "a key, how one begins, or a voice, which may be a glob")
    filters.add(parser)
    parser.add_argument("--all", action="store_true", help="every pin there is")
    parser.add_argument("--dry-run", action="store_true", help="only say what would be unpinned")


def main(options: argparse.Namespace) -> int:
    """Unpin."""
    words, selection = filters.words(options), filters.selection(options)
    if selection == EVERYTHING and not words and not options.all:
        raise SettingError("unpin what? Give keys, voices, filters or --all")
    store = open_first(options, writing=not options.dry_run)
    done = 0
    for key, name in chosen(store.backend, selection, words, signer=store.signer):
        changed = options.dry_run or unpin(store.backend, key)
        done += changed
        say(options, key, name, pinned=False, changed=changed)
    if tables.on_terminal() and not options.json:
        verb = "would be unpinned" if options.dry_run else "unpinned"
        tables.say(f"{entries.count(done)} {verb} in {store.url}", style="dim")
    return FINE
