"""`cas-tool clear`: remove every entry that is not pinned."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stepaudio_cas.cli import rm
from stepaudio_cas.cli.stores import open_first
from stepaudio_cas.maintenance.selection import Selection, wanted

if TYPE_CHECKING:
    import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """Add what comes after `clear`."""
    parser.description = (
        "Remove every entry of the first store that is not pinned, and the objects that are then\n"
        "referred to by none. Counters stay; cas-tool stats --zero clears those."
    )
    parser.epilog = "example:\n  cas-tool clear --plugin stepaudio --dry-run"
    parser.add_argument("--plugin", metavar="NAME", help="only of a plugin, or a glob over schemas")
    parser.add_argument("--model", metavar="ID", help="only of a model: how its fingerprint begins")
    parser.add_argument("--all", action="store_true", help="also what is pinned, and its pin")
    rm.add_how(parser)


def main(options: argparse.Namespace) -> int:
    """Remove all."""
    store = open_first(options, writing=not options.dry_run)
    meant = wanted(store.backend, Selection(plugin=options.plugin, model=options.model))
    return rm.remove(options, store, meant, pinned_too=options.all)
