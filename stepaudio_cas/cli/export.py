"""`cas-tool export`: a set of voices as one file."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from stepaudio_cas.cli import filters, tables
from stepaudio_cas.cli.codes import FINE, FOUND
from stepaudio_cas.cli.files import STANDARD, new_file
from stepaudio_cas.cli.stores import open_first
from stepaudio_cas.maintenance.exchange import Export
from stepaudio_cas.maintenance.selection import NotThere, wanted
from stepaudio_cas.units import show_bytes

if TYPE_CHECKING:
    import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """Add what comes after `export`."""
    parser.description = (
        "Write entries of the first store into one tar: to bake voices into an image, to carry\n"
        "them where no network goes. Everything is checked; an entry that is damaged is named\n"
        "and left out. The same entries make the same bytes. cas-tool import takes it in again;\n"
        "unpacked into an empty folder it is a store."
    )
    parser.epilog = (
        "example:\n  cas-tool export voices.tar --label 'preset-*'\n"
        "  cas-tool export - | ssh edge cas-tool import -\n\n"
        "exit codes: 0 written, 1 something was damaged or not there, 2 wrong usage"
    )
    parser.add_argument("file", metavar="FILE", help="a path, any fsspec URL, or - for stdout")
    filters.add_words(parser, "how a key begins, or a voice, which may be a glob [everything]")
    filters.add(parser)


def main(options: argparse.Namespace) -> int:
    """Write the file."""
    store = open_first(options)
    meant = wanted(store.backend, filters.selection(options), filters.words(options), several=True)
    damaged = 0
    with (
        tables.progress("exporting", quiet=options.json) as advance,
        new_file(options.file) as file,
    ):
        advance(0, total=256)
        export = Export(store, file)
        found = meant.entries(store.backend, store.signer, step=lambda _: advance())
        for refused in export.run(found):
            damaged += 1
            _say(options, {"damaged": refused.path, "reason": refused.reason}, "left out: ")
        if not export.counts.entries:
            raise NotThere(f"no such entry is whole in {store.url}; nothing has been written")
    counts = export.counts
    summary = {"file": options.file, **counts._asdict(), "damaged": damaged}
    text = (
        f"{options.file}: {counts.entries:,} entries, {counts.objects:,} objects,"
        f" {counts.fingerprints:,} fingerprints, {show_bytes(counts.bytes)}"
    )
    if options.file == STANDARD:
        print(text, file=sys.stderr)  # noqa: T201 - stdout is the file
    elif tables.on_terminal() and not options.json:
        tables.say(text)
    else:
        tables.line({"summary": summary})
    return FOUND if damaged else FINE


def _say(options: argparse.Namespace, told: dict[str, Any], what: str) -> None:
    """Tell of one entry where stdout is not the file, else on stderr."""
    drawn = tables.on_terminal() and not options.json
    if options.file != STANDARD and not drawn:
        tables.line(told)
        return
    path, reason = told.values()
    print(f"{what}{path}: {reason}", file=sys.stderr)  # noqa: T201
