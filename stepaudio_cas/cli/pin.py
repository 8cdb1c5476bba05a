"""`cas-tool pin`: keep entries, whatever gc is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stepaudio_cas.cli import entries, filters, tables
from stepaudio_cas.cli.codes import FINE, FOUND
from stepaudio_cas.cli.stores import open_first
from stepaudio_cas.errors import SettingError
from stepaudio_cas.identity.digest import is_digest
from stepaudio_cas.maintenance.pins import pin, unpin
from stepaudio_cas.maintenance.selection import EVERYTHING, wanted
from stepaudio_cas.store import layout

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator

    from stepaudio_cas.store.store import Store


def configure(parser: argparse.ArgumentParser) -> None:
    """Add what comes after `pin`."""
    parser.description = (
        "Pin entries of the first store: neither gc, nor rm and clear, nor the bounds of the\n"
        "store remove them unasked. What is pinned is the key, so that a pin outlives its entry."
    )
    parser.epilog = (
        "example:\n  cas-tool pin 'preset-*.wav'\n"
        "  cas-tool pin 0d5f1b0a3f5c --as 'house voice'\n\n"
        "exit codes: 0 done, 1 not there, 2 nothing was selected"
    )
    filters.add_words(parser, "a key, how one begins, or a voice, which may be a glob")
    filters.add(parser)
    parser.add_argument("--as", dest="name", metavar="NAME", help="as what [its voice]")
    parser.add_argument(
        "--force", action="store_true", help="whole keys, even if their entries are not there (yet)"
    )
    parser.add_argument("--dry-run", action="store_true", help="only say what would be pinned")


def main(options: argparse.Namespace) -> int:
    """Pin."""
    words = filters.words(options)
    if filters.selection(options) == EVERYTHING and not words:
        raise SettingError("pin what? Give keys, voices or filters")
    store = open_first(options, writing=not options.dry_run)
    pinned = gone = 0
    for key, name in _meant(options, store, words):
        if options.dry_run:
            new = store.backend.stat(layout.pin_path(key)) is None
        else:
            new = pin(store.backend, key, label=options.name or name)
            if not options.force and store.backend.stat(layout.manifest_path(key)) is None:
                unpin(store.backend, key)  # it was removed before the pin could keep it
                gone += 1
                continue
        pinned += 1
        say(options, key, name, pinned=True, changed=new)
    if tables.on_terminal() and not options.json:
        verb = "would be pinned" if options.dry_run else "pinned"
        tables.say(f"{entries.count(pinned)} {verb} in {store.url}", style="dim")
    return FOUND if gone else FINE


def say(options: argparse.Namespace, key: str, name: str, *, pinned: bool, changed: bool) -> None:
    """Say what has become of one key."""
    if options.json or not tables.on_terminal():
        tables.line({"key": key, "voice": name, "pinned": pinned, "changed": changed})
    else:
        same = "" if changed else "  (as it was)"
        tables.say(f"{key[: entries.DIGITS]}  {name}{same}")


def _meant(
    options: argparse.Namespace, store: Store, words: Iterable[str]
) -> Iterator[tuple[str, str]]:
    """Yield key and voice of what is to be pinned."""
    forced = [word for word in words if options.force and is_digest(word)]
    rest = [word for word in words if word not in forced]
    for key in forced:
        yield key, ""
    if rest or not forced:
        meant = wanted(store.backend, filters.selection(options), rest)
        for kept in meant.entries(store.backend, store.signer):
            yield kept.key, meant.name_of(kept)
