"""What is counted, and the documents it is kept in: one per process, summed by whoever reads.

A process writes its own document and no other, so counting needs no lock between machines. Old
documents are folded into one; the fold names what it absorbed, so that a reader who sees both
counts nothing twice, at whatever moment the folding process dies.
"""

from __future__ import annotations

import json
import math
import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from stepaudio_cas.errors import Damaged
from stepaudio_cas.store import layout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from stepaudio_cas.store.backend import Backend

FORMAT: Final = 1
MAX_BYTES: Final = 16 << 20
FOLD_AFTER: Final = 86400.0

COUNTERS: Final[dict[str, str]] = {
    "hit.": "artifacts returned without an encode, by tier",
    "hit.shared": "callers that waited for another one's encode in the same process",
    "miss": "artifacts that had to be encoded",
    "bypass.": "calls that were not cacheable, by reason",
    "error.": "failures of ours that the host did not notice, by kind",
    "seconds.saved": "encode time that hits made unnecessary",
    "seconds.encode": "time spent encoding on misses",
    "seconds.lookup": "time spent finding hits",
    "raised": "encodes that raised; the exception went to the caller, nothing was kept",
    "lost": "encodes that another process had finished first; its artifact was returned",
    "stored": "entries written, on any tier",
    "promoted": "entries copied up to a faster tier",
    "dropped": "background writes given up: the queue was full, or the process ended",
    "bytes.read": "object bytes read from stores",
    "bytes.written": "object bytes written to stores",
    "evicted.entries": "entries removed to keep a store within its bounds",
    "evicted.bytes": "bytes those removals freed",
    "shadow.equal": "hits recomputed in the background with an equal result",
    "shadow.different": "hits recomputed in the background with another result",
}
"""Every counter there is. A name that ends in a dot is a family, completed by a tier or reason."""


class Subject(NamedTuple):
    """Whom a count is about."""

    plugin: str = ""
    model: str = ""


Counts = dict[str, float]


@dataclass
class Tally:
    """Counts by subject, since a moment, over a number of processes."""

    since: float = 0.0
    updated: float = 0.0
    processes: int = 0
    subjects: dict[Subject, Counts] = field(default_factory=dict)
    absorbed: frozenset[str] = frozenset()

    def add(self, other: Tally) -> None:
        """Add what another tally has counted."""
        self.since = min(filter(None, (self.since, other.since)), default=0.0)
        self.updated = max(self.updated, other.updated)
        self.processes += other.processes
        for subject, counts in other.subjects.items():
            mine = self.subjects.setdefault(subject, {})
            for name, number in counts.items():
                mine[name] = mine.get(name, 0) + number

    def total(self, name: str) -> float:
        """Sum a counter, or a family if `name` ends in a dot, over all subjects."""
        return sum(sum_of(counts, name) for counts in self.subjects.values())

    def totals(self) -> Counts:
        """Sum every counter over all subjects."""
        totals: Counts = {}
        for counts in self.subjects.values():
            for name, number in counts.items():
                totals[name] = totals.get(name, 0) + number
        return totals


def sum_of(counts: Mapping[str, float], name: str) -> float:
    """Read a counter, or the sum of a family."""
    if not name.endswith("."):
        return counts.get(name, 0)
    return sum(number for key, number in counts.items() if key.startswith(name))


def summarise(tally: Tally) -> dict[str, Any]:
    """Say a tally as people ask for it."""
    totals = tally.totals()
    by_plugin: dict[str, dict[str, float]] = {}
    by_model: dict[str, dict[str, float]] = {}
    for subject, counts in tally.subjects.items():
        for name, table in ((subject.plugin, by_plugin), (subject.model, by_model)):
            if name:
                line = table.setdefault(name, {"hits": 0, "misses": 0, "seconds_saved": 0})
                line["hits"] += sum_of(counts, "hit.")
                line["misses"] += sum_of(counts, "miss")
                line["seconds_saved"] += sum_of(counts, "seconds.saved")
    hits, misses = sum_of(totals, "hit."), sum_of(totals, "miss")
    return {
        "since": tally.since,
        "processes": tally.processes,
        "hits": hits,
        "misses": misses,
        "bypasses": sum_of(totals, "bypass."),
        "errors": sum_of(totals, "error."),
        "hit_rate": hits / (hits + misses) if hits + misses else None,
        "seconds_saved": sum_of(totals, "seconds.saved"),
        "counters": dict(sorted(totals.items())),
        "by_plugin": by_plugin,
        "by_model": by_model,
    }


def dump_tally(tally: Tally, process: Mapping[str, Any]) -> bytes:
    """Serialise."""
    document = {
        "format": FORMAT,
        "process": dict(process),
        "since": tally.since,
        "updated": tally.updated,
        "processes": tally.processes,
        "absorbed": sorted(tally.absorbed),
        "subjects": [
            {"plugin": s.plugin, "model": s.model, "counts": counts}
            for s, counts in tally.subjects.items()
        ],
    }
    return json.dumps(document, separators=(",", ":")).encode()


def load_tally(data: bytes) -> Tally | None:
    """Read a document back; None if it is not one (torn, foreign, of another format)."""
    try:
        document = json.loads(data)
        if document["format"] != FORMAT:
            return None
        return Tally(
            since=_finite(document["since"]),
            updated=_finite(document["updated"]),
            processes=int(document["processes"]),
            absorbed=frozenset(map(str, document["absorbed"])),
            subjects={
                Subject(str(item["plugin"]), str(item["model"])): {
                    str(name): _finite(number) for name, number in item["counts"].items()
                }
                for item in document["subjects"]
            },
        )
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return None


def _finite(number: Any) -> float:
    if not math.isfinite(number):
        raise ValueError(f"{number} is not a count")
    return float(number)


def read_tally(backend: Backend) -> Tally:
    """Sum the counters of every process that has used this store."""
    documents = dict(_documents(backend))
    return merge(documents[name] for name in _counted(documents))


def fold(backend: Backend, *, clock: Callable[[], float] = time.time) -> int:
    """Fold documents that nobody has written to for a day into one; return how many went.

    A living process writes (or takes a new name) more often than that.
    """
    documents = dict(_documents(backend))
    counted = _counted(documents)
    limit = clock() - FOLD_AFTER
    spent = {name for name in documents if name not in counted}
    old = {name for name in counted if documents[name].updated < limit}
    if len(old) > 1:
        folded = merge(documents[name] for name in old)
        folded.absorbed = frozenset(old | spent)
        name = f"{layout.COUNTERS}/folded-{os.urandom(8).hex()}.json"
        backend.put(name, dump_tally(folded, {"folded": True}))
        spent |= old
    return sum(backend.delete(f"{layout.COUNTERS}/{name}") for name in sorted(spent))


def _documents(backend: Backend) -> Iterator[tuple[str, Tally]]:
    for entry in list(backend.list(layout.COUNTERS)):
        try:
            data = backend.get(entry.path, limit=MAX_BYTES)
        except Damaged:  # far too large to be one of ours
            continue
        tally = load_tally(data) if data is not None else None
        if tally is not None:
            yield entry.path.rsplit("/", 1)[-1], tally


def _counted(documents: Mapping[str, Tally]) -> list[str]:
    """Name the documents to sum: none that a fold absorbed, and of two folds of the same, one."""
    folds = {name: tally.absorbed for name, tally in documents.items() if tally.absorbed}
    seen: set[str] = set()
    names = []
    while folds:
        below = frozenset().union(*folds.values())
        heads = [name for name in folds if name not in below] or list(folds)
        name = min(heads, key=lambda head: (-len(folds[head]), head))
        absorbed = folds.pop(name)
        if name not in seen and not absorbed & seen:
            seen |= absorbed
            names.append(name)
    return names + [n for n, t in documents.items() if not t.absorbed and n not in seen]


def merge(tallies: Iterable[Tally]) -> Tally:
    """Add up tallies."""
    total = Tally()
    for tally in tallies:
        total.add(tally)
    return total
