"""`cas-tool import`: voices out of such a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stepaudio_cas.cli import tables
from stepaudio_cas.cli.codes import FINE, FOUND
from stepaudio_cas.cli.files import old_file
from stepaudio_cas.cli.stores import open_first
from stepaudio_cas.maintenance.archive import BadArchive, Reader
from stepaudio_cas.maintenance.exchange import Import, Refused

if TYPE_CHECKING:
    import argparse
    from typing import IO


def configure(parser: argparse.ArgumentParser) -> None:
    """Add what comes after `import`."""
    parser.description = (
        "Take the entries of a file that cas-tool export has written into the first store. All\n"
        "is checked: names against contents, manifests against their sums; whatever is not an\n"
        "entry of ours (links, other paths, sizes beyond reason) is refused. An entry that is\n"
        "there already stays as it is. If it is interrupted, the next run does the rest.\n\n"
        "With a signing key set, everything that is imported is signed with it: by importing a\n"
        "file you say that you trust where it comes from."
    )
    parser.epilog = (
        "example:\n  cas-tool --store /srv/voices import voices.tar --pin\n\n"
        "exit codes: 0 all of it is in the store, 1 something was refused, 2 wrong usage"
    )
    parser.add_argument("file", metavar="FILE", help="a path, any fsspec URL, or - for stdin")
    parser.add_argument("--pin", action="store_true", help="pin what the file holds")
    parser.add_argument("--dry-run", action="store_true", help="check, and say what is new")


def main(options: argparse.Namespace) -> int:
    """Import the file."""
    store = open_first(options, writing=not options.dry_run)
    with old_file(options.file) as file:
        taken = Import(store, _reader(file, options.file), pinning=options.pin, dry=options.dry_run)
        drawn = tables.on_terminal() and not options.json
        told: list[Refused] = []
        with tables.progress("importing", quiet=options.json) as advance:
            advance(0, total=taken.expected)
            for refused in taken.run():
                advance()
                if refused is None:
                    continue
                if drawn:
                    told.append(refused)
                else:
                    tables.line({"refused": refused.path, "reason": refused.reason})
    for refused in told:
        tables.say(f"refused: {refused.path or options.file}: {refused.reason}")
    counts = {name: getattr(taken, name) for name in ("new", "there", "refused", "pinned")}
    if drawn:
        would = "would be " if options.dry_run else ""
        tables.say(
            f"{store.url}: {taken.new:,} {would}new, {taken.there:,} already there,"
            f" {taken.refused:,} refused" + (f", {taken.pinned:,} pinned" if options.pin else "")
        )
    else:
        tables.line({"summary": {"store": store.url, **counts, "dry_run": options.dry_run}})
    return FOUND if taken.refused else FINE


def _reader(file: IO[bytes], name: str) -> Reader:
    try:
        return Reader(file)
    except BadArchive as error:
        raise BadArchive(f"{name}: {error}") from None
