"""`cas-tool verify`: whether what is in the store is what it should be."""

from __future__ import annotations

import argparse
import re
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from stepaudio_cas.cli import tables
from stepaudio_cas.cli.codes import FINE, FOUND
from stepaudio_cas.cli.stores import is_there, open_stores
from stepaudio_cas.errors import SettingError
from stepaudio_cas.maintenance.findings import Finding, Share
from stepaudio_cas.maintenance.repair import Repairer
from stepaudio_cas.maintenance.verify import Verification
from stepaudio_cas.store import layout
from stepaudio_cas.units import show_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

_SHOWN: Final = 200
_NAME: Final = 16
_SHARE: Final = re.compile(r"(\d{1,3})/(\d{1,3})").fullmatch

_MEANINGS: Final = {
    "object": "its content is not what its name says",
    "too-large": "longer than anything of ours",
    "unreadable": "the disk or the server does not give it back",
    "manifest": "its sum does not match: damaged, or cut",
    "foreign": "it is the manifest of another key",
    "unsigned": "not signed, and a signing key is set",
    "signature": "signed with a key that is not ours",
    "format": "written by a newer version",
    "object-missing": "the object it names is not there",
    "size": "its object has another length than it says",
    "fingerprint": "its content is not what its name says",
    "fingerprint-missing": "entries refer to it, but it is not there",
    "orphan": "no manifest refers to it: gc takes it away",
    "leftover": "left by a writer that died",
    "stray": "not a name of ours",
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add what comes after `verify`."""
    parser.description = (
        "Check the first store: every object against its name, every manifest against its sum,\n"
        "its object and (if a key is set) its signature; find fingerprints that are damaged or\n"
        "missing, objects that nothing refers to, what killed writers left, and names that are\n"
        "not ours. The store may be in use meanwhile. Orphans, leftovers, missing fingerprints\n"
        "and entries of a newer version are notes: they cost no hit, and the exit code is 0\n"
        "unless --strict is given.\n\n"
        "--repair copies what is damaged from the other stores of the chain; what none of them\n"
        f"has is moved to {layout.QUARANTINE}: a miss, which the next encode heals. Nothing is\n"
        "lost. Entries of a newer version or with a foreign signature are never touched."
    )
    parser.epilog = (
        "example:\n  cas-tool verify\n"
        "  cas-tool verify --sample $(( $(date +%s) / 86400 % 7 + 1 ))/7   # each night a part\n"
        "  cas-tool --store /srv/voices,s3://fleet/voices verify --repair\n\n"
        "exit codes: 0 whole, 1 something is damaged (even if it has been mended), 2 wrong usage"
    )
    parser.add_argument(
        "--sample",
        type=_share,
        default=Share(),
        metavar="N/T",
        help="check the N-th of T parts only; T runs cover the store, the last finds orphans",
    )
    parser.add_argument("--repair", action="store_true", help="mend what can be mended")
    parser.add_argument(
        "--dry-run", action="store_true", help="with --repair: only say what would be done"
    )
    parser.add_argument("--strict", action="store_true", help="notes count too")


def main(options: argparse.Namespace) -> int:
    """Check, and say what was found."""
    if options.dry_run and not options.repair:
        raise SettingError("--dry-run goes with --repair; without it nothing is changed anyway")
    store, *others = open_stores(options, writing=options.repair and not options.dry_run)
    if not is_there(store):
        return FOUND  # a path that was mistyped is not a store in which all is well
    donors = [other for other in others if other.url != store.url]
    repairer = Repairer(store, donors, dry=options.dry_run) if options.repair else None
    verification = Verification(store, options.sample, repairer=repairer)
    drawn = tables.on_terminal() and not options.json
    told: list[Finding] = []
    counts: Counter[str] = Counter()
    with tables.progress("verifying", quiet=not drawn) as advance:
        advance(0, total=verification.steps)
        for finding in verification.run(advance):
            counts[finding.kind] += 1
            counts[""] += options.strict or not finding.is_note
            counts["mended"] += finding.mended
            if not drawn:
                tables.line(_described(finding))
            elif len(told) < _SHOWN:
                told.append(finding)
    wrong, mended = counts.pop("", 0), counts.pop("mended", 0)
    if drawn:
        _draw(told, counts, verification, mended)
    else:
        tables.line(_summary(counts, verification, mended))
    return FOUND if wrong else FINE


def _share(text: str) -> Share:
    match = _SHARE(text)
    share = Share(int(match[1]), int(match[2])) if match else None
    if share is None or not 1 <= share.number <= share.of <= len(layout.SHARDS):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a part such as 1/7 (the first of 7; at most of 256)"
        )
    return share


def _described(finding: Finding) -> dict[str, Any]:
    told = finding._asdict()
    return {"finding": told.pop("kind"), "note": finding.is_note, **told}


def _summary(counts: Counter[str], seen: Verification, mended: int) -> dict[str, Any]:
    return {
        "summary": {
            "store": seen.store.url,
            "sample": f"{seen.share.number}/{seen.share.of}",
            "entries": seen.entries,
            "objects": seen.objects,
            "bytes": seen.bytes,
            "fingerprints": seen.fingerprints,
            "findings": dict(sorted(counts.items())),
            "mended": mended,
        }
    }


def _draw(told: list[Finding], counts: Counter[str], seen: Verification, mended: int) -> None:
    if told:
        tables.rows(("what", "name", "finding", "done"), _lines(told))
        tables.say()
    more = counts.total() - len(told)
    if more:
        tables.say(f"… and {more:,} more; --json tells all of them")
    for kind, count in counts.most_common():
        tables.say(f"{count:>7,}  {kind}: {_MEANINGS.get(kind, '')}")
    part = "" if seen.share.of == 1 else f", part {seen.share.number} of {seen.share.of}"
    text = (
        f"{seen.store.url}{part}: {seen.entries:,} entries, {seen.objects:,} objects"
        f" ({show_bytes(seen.bytes)}), {seen.fingerprints:,} fingerprints looked at; "
    )
    found = counts.total()
    text += f"{found:,} findings" if found else "all is well"
    tables.say(text + (f", {mended:,} mended" if mended else ""))


def _lines(told: list[Finding]) -> Iterator[list[str]]:
    for finding in told:
        name = layout.digest_in(finding.path)
        short = f"{name[:_NAME]}…" if name is not None else finding.path
        done, quarantine, _ = finding.done.partition(layout.QUARANTINE)
        yield [finding.what, short, finding.kind, done + quarantine]
