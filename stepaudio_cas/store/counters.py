"""What is counted, and the documents it is kept in: one per process, summed by whoever reads.

A process writes its own document and no other, so counting needs no lock between machines. Old
documents are folded into one; the fold names what it absorbed, so that a reader who sees both
counts nothing twice, at whatever moment the folding process dies.

To count anew, what was counted up to then is written down in a document of its own, which readers
subtract: nobody who counts has to be told.
"""

from __future__ import annotations

import json
import math
import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from stepaudio_cas.errors import Damaged, Unavailable
from stepaudio_cas.store import layout
from stepaudio_cas.store.hottest import Hottest, load_hottest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from stepaudio_cas.store.backend import Backend

FORMAT: Final = 1
MAX_BYTES: Final = 16 << 20
FOLD_AFTER: Final = 86400.0
ENDED_AFTER: Final = FOLD_AFTER / 4
"""A process that has not written for so long has ended: an idle one writes twice as often."""

MOST_MACHINES: Final = 256
"""How many machines a document names; where containers come and go, there is no end of them."""

_NOISE: Final = 1e-6
_LOOKS: Final = 20

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
    """Counts by subject, since a moment, over a number of processes.

    `zeroed` is when counting began anew, in a document that says what was counted before.
    """

    since: float = 0.0
    updated: float = 0.0
    processes: int = 0
    subjects: dict[Subject, Counts] = field(default_factory=dict)
    absorbed: frozenset[str] = frozenset()
    machines: frozenset[str] = frozenset()
    hottest: Hottest = field(default_factory=Hottest)
    zeroed: float = 0.0

    def add(self, other: Tally) -> None:
        """Add what another tally has counted."""
        self.since = min(filter(None, (self.since, other.since)), default=0.0)
        self.updated = max(self.updated, other.updated)
        self.processes += other.processes
        self.machines |= other.machines
        self.hottest = self.hottest.plus(other.hottest)
        for subject, counts in other.subjects.items():
            mine = self.subjects.setdefault(subject, {})
            for name, number in counts.items():
                mine[name] = mine.get(name, 0) + number

    def subtract(self, other: Tally) -> None:
        """Take away what another tally has counted."""
        self.hottest = self.hottest.minus(other.hottest)
        for subject, counts in list(self.subjects.items()):
            before = other.subjects.get(subject, {})
            rest = {name: number - before.get(name, 0) for name, number in counts.items()}
            # Sums of the same numbers in another order differ in their last digits.
            self.subjects[subject] = {name: n for name, n in rest.items() if n > _NOISE}
            if not self.subjects[subject]:
                del self.subjects[subject]

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
        **({"machines": sorted(tally.machines)[:MOST_MACHINES]} if "host" not in process else {}),
        **({"zeroed": tally.zeroed} if tally.zeroed else {}),
        "hottest": tally.hottest.dump(),
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
            machines=_machines(document),
            hottest=load_hottest(document.get("hottest")),
            zeroed=_finite(document.get("zeroed", 0)),
            subjects={
                Subject(str(item["plugin"]), str(item["model"])): {
                    str(name): _finite(number) for name, number in item["counts"].items()
                }
                for item in document["subjects"]
            },
        )
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return None


def _machines(document: Mapping[str, Any]) -> frozenset[str]:
    host = document["process"].get("host")
    return frozenset(map(str, document.get("machines", [host] if host else [])))


def _finite(number: Any) -> float:
    if not math.isfinite(number):
        raise ValueError(f"{number} is not a count")
    return float(number)


def read_tally(backend: Backend) -> Tally:
    """Sum what every process that has used this store has counted since it was last zeroed."""
    documents, before = _split(dict(_documents(backend)))
    counted = [documents[name] for name in _counted(documents)]
    total = merge(counted)
    if before is not None:
        total.subtract(before)
        since = [tally for tally in counted if tally.updated > before.zeroed]
        total.since = before.zeroed
        total.processes = max(total.processes - before.processes, 0)
        total.machines = frozenset[str]().union(*(tally.machines for tally in since))
    return total


def zero(backend: Backend, *, clock: Callable[[], float] = time.time) -> None:
    """Count anew from here: write down what has been counted, for readers to subtract.

    Processes that are counting go on with their documents, and lose nothing.
    """
    found = _settled(backend)
    documents, _ = _split(found)
    each, now = [documents[name] for name in _counted(documents)], clock()
    counted = merge(each)
    counted.processes = sum(tally.processes for tally in each if tally.updated < now - ENDED_AFTER)
    counted.zeroed = now
    name = f"zero-{os.urandom(8).hex()}.json"
    backend.put(f"{layout.COUNTERS}/{name}", dump_tally(counted, {}))
    for path in found.keys() - documents.keys():  # not one of somebody who zeroes at this moment
        backend.delete(f"{layout.COUNTERS}/{path}")


def fold(backend: Backend, *, clock: Callable[[], float] = time.time) -> int:
    """Fold documents that nobody has written to for a day into one; return how many went.

    A living process writes (or takes a new name) more often than that.
    """
    documents, _ = _split(dict(_documents(backend)))
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


def _split(documents: dict[str, Tally]) -> tuple[dict[str, Tally], Tally | None]:
    """Take the documents that say what was counted before the rest; return their highest counts."""
    before: Tally | None = None
    for tally in documents.values():
        if tally.zeroed:
            before = tally if before is None else _peak(before, tally)
    return {name: tally for name, tally in documents.items() if not tally.zeroed}, before


def _peak(one: Tally, other: Tally) -> Tally:
    """Take the larger numbers of two: counters only grow, so those are the later ones."""
    subjects = {subject: dict(counts) for subject, counts in one.subjects.items()}
    for subject, counts in other.subjects.items():
        mine = subjects.setdefault(subject, {})
        for name, number in counts.items():
            mine[name] = max(mine.get(name, 0), number)
    return Tally(
        processes=max(one.processes, other.processes),
        zeroed=max(one.zeroed, other.zeroed),
        subjects=subjects,
        hottest=one.hottest.peak(other.hottest),
    )


def _settled(backend: Backend) -> dict[str, Tally]:
    """Read all documents at a moment at which nobody folds them.

    What a fold had under way would be missing in one reading, and then be counted as new for ever.
    """
    for _ in range(_LOOKS):
        names = {entry.path for entry in backend.list(layout.COUNTERS)}
        documents = dict(_documents(backend))
        if names == {entry.path for entry in backend.list(layout.COUNTERS)}:
            return documents
    raise Unavailable("busy", f"the counters of {backend.url} do not hold still; try again")


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
