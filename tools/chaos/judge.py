"""What a run has shown, from the logs of all its processes, and whether the promises were kept.

- A **wrong value** is one that no run of the encoder has ever returned for that voice.
- The **delay** of a call is the part of it in which nobody was encoding the voice it wants, less
  the time in which the machine did not let the process work, or its local disk had it wait.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections import Counter, defaultdict
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from stepaudio_cas.runtime.budget import LEAST, SHARE
from stepaudio_cas.settings import LONGEST
from tools.chaos.records import Call, Encode, Phase, read_log
from tools.chaos.worker import voice as recipe_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from tools.chaos.run import Plan
    from tools.chaos.saboteur import Fault

HIT, MISS, WAITED, NEW = "hit", "miss", "after waiting", "first of a host"
POLL: Final = 0.25
"""Who waits for another machine looks that often whether it has finished."""

GRACE: Final = 0.1
"""What our own work may take besides: a disk, a hash, a thread that has to wake up."""


class Logs(NamedTuple):
    """All that the processes of a run have taken down, by worker."""

    calls: list[list[Call]]
    encodes: list[list[Encode]]
    reports: list[dict[str, Any]]
    first: int
    agreed: int
    mended: float


@dataclass(frozen=True)
class Promise:
    """A number that must not be above its limit."""

    name: str
    value: float | None
    limit: float
    unit: str = ""

    @property
    def kept(self) -> bool:
        return self.value is not None and self.value <= self.limit

    def figures(self) -> dict[str, Any]:
        return {**asdict(self), "ok": self.kept}


def read_logs(folder: Path, workers: int, first: int, agreed: int, mended: float) -> Logs:
    """Read what is in the folder of a run."""
    return Logs(
        [list(read_log(folder / f"calls-{n}", Call)) for n in range(workers)],
        [list(read_log(folder / f"encodes-{n}", Encode)) for n in range(workers)],
        [json.loads((folder / f"report-{n}").read_text()) for n in range(workers)],
        first,
        agreed,
        mended,
    )


class Encodes:
    """Every run of the encoder, whoever did it."""

    def __init__(self, encodes: Iterable[Encode]) -> None:
        self.by_voice: dict[int, list[Encode]] = defaultdict(list)
        for run in sorted(encodes, key=lambda run: run.begin):
            self.by_voice[run.voice].append(run)
        self._results = {
            (run.voice, run.nonce): run
            for runs in self.by_voice.values()
            for run in runs
            if not run.raised
        }

    def made(self, voice: int, nonce: int, before: float | None = None) -> bool:
        """Tell whether that is a result for this voice, and of a run that was over by then."""
        run = self._results.get((voice, nonce))
        return run is not None and (before is None or run.end <= before)

    def busy(self, call: Call) -> tuple[float, bool]:
        """Return for how long of a call somebody was encoding its voice; whether others did."""
        covered, until, others = 0.0, call.begin, 0
        for run in self.by_voice.get(call.voice, ()):
            begin, end = max(run.begin, until), min(run.end, call.end)
            if end > begin:
                covered += end - begin
                until = end
                others += 1
        return covered, others > (not call.hit)


def figures(
    plan: Plan, logs: Logs, history: Sequence[Fault], stores: dict[str, Any]
) -> dict[str, Any]:
    """Put together what happened."""
    encodes = Encodes(run for runs in logs.encodes for run in runs)
    calls = [call for some in logs.calls for call in some]
    counters = _counters(logs)
    return {
        "calls": len(calls),
        "hits": sum(call.hit for call in calls),
        "encodes": sum(map(len, logs.encodes)),
        "voices": len(encodes.by_voice),
        "faults": _faults(history),
        "wrong_values": sum(_is_wrong(call, encodes) for call in calls),
        "wrong_in_stores": _wrong_in_stores(stores, encodes),
        "host_errors": sum(call.ended_otherwise for call in calls),
        "host_exceptions": sum(call.raised for call in calls),
        "several_values": _several(call for call in calls if not call.raised),
        "delays": _delays(calls, encodes),
        "worst": _worst(calls, encodes, history),
        "longest_encode": max(
            (run.end - run.begin for runs in logs.encodes for run in runs), default=0.0
        ),
        "recovery": _recovery(logs),
        "away": [report.get("away", []) for report in logs.reports],
        "counters": counters,
        "uploads": _uploads(plan, logs, counters),
        "agreement": _agreement(logs, encodes, stores),
        "stores": _stores(stores),
    }


def _is_wrong(call: Call, encodes: Encodes) -> bool:
    return not call.raised and not encodes.made(call.voice, call.nonce, call.end)


def _faults(history: Sequence[Fault]) -> dict[str, dict[str, int]]:
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for fault in history:
        found[fault.fault][fault.place] += 1
    return {name: dict(places) for name, places in sorted(found.items())}


def _wrong_in_stores(stores: dict[str, Any], encodes: Encodes) -> int:
    everywhere = [*stores["before"].values(), *stores["disks"].values(), stores["after"]]
    return sum(
        not encodes.made(voice, nonce)
        for contents in everywhere
        for voice, nonce in contents.values.items()
    )


def _several(calls: Iterable[Call]) -> int:
    """Count the voices of which more than one result was handed out."""
    values: dict[int, set[int]] = defaultdict(set)
    for call in calls:
        values[call.voice].add(call.nonce)
    return sum(len(nonces) > 1 for nonces in values.values())


def _delays(calls: Sequence[Call], encodes: Encodes) -> list[dict[str, Any]]:
    """Return for each phase and kind of call how many there were, and their delays."""
    found: dict[tuple[int, str], list[tuple[float, float]]] = defaultdict(list)
    for call in calls:
        covered, others = encodes.busy(call)
        kind = NEW if call.new else WAITED if others else HIT if call.hit else MISS
        late = call.end - call.begin - covered
        found[call.phase, kind].append((_by_stores(call, late), late))
    rows = []
    for (phase, kind), pairs in sorted(found.items()):
        delays = sorted(delay for delay, _ in pairs)
        rows.append(
            {
                "phase": Phase(phase).name.lower(),
                "kind": kind,
                "calls": len(delays),
                "median": _at(delays, 0.5),
                "p99": _at(delays, 0.99),
                "longest": delays[-1],
                "longest_with_machine": max(late for _, late in pairs),
            }
        )
    return rows


def _by_stores(call: Call, late: float) -> float:
    """Return a delay without what the machine and its disk had to do with it."""
    return max(0.0, late - max(call.stall, call.disk))


def _worst(
    calls: Sequence[Call], encodes: Encodes, history: Sequence[Fault]
) -> list[dict[str, Any]]:
    """Return the most delayed calls, and what was broken at the time."""

    def late(call: Call) -> float:
        return _by_stores(call, call.end - call.begin - encodes.busy(call)[0])

    return [
        {
            **call._asdict(),
            "delay": late(call),
            "faults": [
                f"{fault.place} {fault.fault}"
                for fault in history
                if fault.begin < call.end and fault.end > call.begin
            ],
        }
        for call in sorted(calls, key=late)[-12:]
    ]


def _at(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def _recovery(logs: Logs) -> float | None:
    """Return how long the last one took to use every store again; None if one did not."""
    moments = [report["recovered"] for report in logs.reports]
    return None if None in moments else max(0.0, max(moments) - logs.mended)


def _counters(logs: Logs) -> dict[str, float]:
    total: Counter[str] = Counter()
    for report in logs.reports:
        for life in report["lives"]:
            total.update(life["counters"])
    return dict(sorted(total.items()))


def _uploads(plan: Plan, logs: Logs, counters: dict[str, float]) -> dict[str, float]:
    """Hold what was encoded against what was stored, had been stored by others, or was given up."""
    ours = overtaken = 0
    for calls, encodes in zip(logs.calls, logs.encodes, strict=True):
        ends = [run.end for run in encodes]
        for call in calls:
            if call.hit or call.raised:
                continue
            own = encodes[bisect_right(ends, call.end) - 1]
            ours += own.nonce == call.nonce
            overtaken += own.nonce != call.nonce
    owed = ours * len(plan.chain)
    done = counters.get("stored", 0) - counters.get("promoted", 0) - ours
    others = counters.get("lost", 0) - overtaken
    dropped = counters.get("dropped", 0)
    return {
        "owed": owed,
        "made_good": done,
        "others_were_first": others,
        "dropped": dropped,
        "unaccounted": max(0, owed - done - others - dropped),
    }


def _agreement(logs: Logs, encodes: Encodes, stores: dict[str, Any]) -> dict[str, Any]:
    wanted = range(logs.first, logs.first + logs.agreed)
    at_once: dict[int, set[int]] = {voice: set() for voice in wanted}
    values: dict[int, set[int]] = {voice: set() for voice in wanted}
    for calls in logs.calls:
        for call in calls:
            if call.phase in {Phase.AGREE, Phase.CONFIRM}:
                (at_once if call.phase == Phase.AGREE else values)[call.voice].add(call.nonce)
    return {
        "voices": len(wanted),
        "most_at_once": max(map(len, at_once.values()), default=0),
        "most_values": max(map(len, values.values()), default=0),
        "most_encodes": max((len(encodes.by_voice[voice]) for voice in wanted), default=0),
        "missing": {
            name: sum(voice not in contents.values for voice in wanted)
            for name, contents in stores["before"].items()
        },
        "other_value": sum(
            contents.values[voice] not in values[voice]
            for contents in stores["before"].values()
            for voice in wanted
            if voice in contents.values
        ),
    }


def _stores(stores: dict[str, Any]) -> dict[str, Any]:
    on_disks = {voice for contents in stores["disks"].values() for voice in contents.values}
    last, after = stores["before"][stores["last"]], stores["after"]
    return {
        "last": stores["last"],
        "entries": {name: len(found.values) for name, found in stores["before"].items()},
        "unreadable": {name: len(found.unreadable) for name, found in stores["before"].items()},
        "on_disks": len(on_disks),
        "unreadable_on_disks": sum(len(found.unreadable) for found in stores["disks"].values()),
        "missing_before_sync": len(on_disks - set(last.values)),
        "missing_after_sync": len(on_disks - set(after.values)),
        "after_sync": len(after.values),
        "unreadable_after_sync": len({recipe_of(n).key for n in on_disks} & set(after.unreadable)),
        "sync": stores["sync"],
    }


def budget_of(longest_encode: float) -> float:
    """Return what the stores of a chain may hold up a call, by what an encode takes."""
    return min(max(LEAST, SHARE * longest_encode), LONGEST)


def promises(plan: Plan, found: dict[str, Any]) -> list[Promise]:
    """Hold the figures against what is promised."""
    budget, after = budget_of(plan.encode_seconds * 1.2), found["stores"]
    agreed = found["agreement"]
    quick = {HIT: budget, MISS: budget, WAITED: budget + POLL, NEW: LONGEST}
    return [
        Promise("wrong values handed out", found["wrong_values"], 0),
        Promise("wrong values in any store", found["wrong_in_stores"], 0),
        Promise("errors in a host", found["host_errors"], 0),
        Promise("failures of ours without a name", found["counters"].get("error.internal", 0), 0),
        *(
            Promise(f"longest delay of a call: {kind}", _longest(found, kind), most + GRACE, "s")
            for kind, most in quick.items()
        ),
        Promise("recovery after the last fault", found["recovery"], _recovers_in(plan), "s"),
        Promise("uploads neither made good nor counted", found["uploads"]["unaccounted"], 0),
        Promise("values of a new voice after that", agreed["most_values"], 1),
        Promise("shared stores that have another, or none", _apart(agreed), 0),
        Promise("entries that the last store lacks after sync", after["missing_after_sync"], 0),
        Promise("entries there that cannot be read", after["unreadable_after_sync"], 0),
    ]


def _apart(agreed: dict[str, Any]) -> int:
    return int(agreed["other_value"] + sum(agreed["missing"].values()))


def _recovers_in(plan: Plan) -> float:
    """Return what the longest pause of a breaker comes to, with somebody who comes by after it."""
    return plan.breaker_seconds[1] + 5.0


def _longest(found: dict[str, Any], kind: str) -> float:
    rows = [row["longest"] for row in found["delays"] if row["kind"] == kind]
    return max(rows, default=0.0)
