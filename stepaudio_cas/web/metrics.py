"""What Prometheus is told: of this process by plain names, of all processes by `_store_` names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.exposition import choose_encoder

from stepaudio_cas import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from prometheus_client.core import Metric

    from stepaudio_cas.web.observer import Histogram
    from stepaudio_cas.web.source import Source

PREFIX: Final = "stepaudio_cas"
MOST_MEMBERS: Final = 100
"""So many kinds of an error, reasons of a bypass, tiers are told apart."""

_OTHERS: Final = "(others)"
_HERE: Final = "in this process"
_ALL: Final = "in all processes that keep their counters in these stores"

# counter of ours: metric, label of its family, what it counts
_COUNTED: Final = (
    ("hit.", "hits", "tier", "Artifacts returned without an encode"),
    ("miss", "misses", "", "Artifacts that had to be encoded"),
    ("bypass.", "bypasses", "reason", "Calls that were not cacheable"),
    ("error.", "errors", "kind", "Failures of the cache that the host did not notice"),
    ("seconds.saved", "saved_seconds", "", "Encode time that hits made unnecessary"),
    ("seconds.encode", "encoding_seconds", "", "Time spent encoding on misses"),
    ("raised", "raised", "", "Encodes that raised"),
    ("lost", "lost", "", "Encodes that another process had finished first"),
    ("stored", "stored", "", "Entries written, on any tier"),
    ("promoted", "promoted", "", "Entries copied up to a faster tier"),
    ("dropped", "uploads_dropped", "", "Background writes given up"),
    ("bytes.read", "read_bytes", "", "Object bytes read from stores"),
    ("bytes.written", "written_bytes", "", "Object bytes written to stores"),
    ("evicted.entries", "evicted_entries", "", "Entries removed to keep a store in its bounds"),
    ("evicted.bytes", "evicted_bytes", "", "Bytes those removals freed"),
    ("shadow.", "shadow", "result", "Hits recomputed in the background, by whether it was equal"),
)
_SIZES: Final = {
    "entries": "Entries of a store",
    "objects": "Objects of a store",
    "bytes": "Bytes that entries and objects of a store take",
    "limit": "Bytes that a store may take, where a bound is set",
}


def exposition(
    source: Source, figures: Mapping[str, Any], watched: Sequence[Mapping[str, Any]], accept: str
) -> tuple[bytes, str]:
    """Write all metrics, in the form that is asked for; return them with their content type."""
    return written(families(source, figures, watched), accept)


def written(found: Iterable[Metric], accept: str) -> tuple[bytes, str]:
    """Write metrics; what a label says is text, whatever a store or a folder is called."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Once(lambda: map(_in_text, found)))
    encode, kind = choose_encoder(accept)
    return encode(registry), kind


def _in_text(family: Metric) -> Metric:
    family.samples = [
        sample._replace(labels={name: _text(value) for name, value in sample.labels.items()})
        for sample in family.samples
    ]
    return family


def _text(value: str) -> str:
    return value.encode("utf-8", "backslashreplace").decode()


class _Once:
    """A collector, as the library wants one."""

    def __init__(self, made: Callable[[], Iterable[Metric]]) -> None:
        self.collect = made

    def describe(self) -> list[Metric]:
        return []


def families(
    source: Source, figures: Mapping[str, Any], watched: Sequence[Mapping[str, Any]]
) -> Iterator[Metric]:
    """Yield every metric there is."""
    mode = source.settings.mode.value
    yield _gauge("info", "What is running", [((__version__, mode), 1)], ("version", "mode"))
    if source.cache is not None:
        yield from _process(source)
    yield from of_stores(figures)
    yield from _watched(watched)


def of_stores(figures: Mapping[str, Any]) -> Iterator[Metric]:
    """Yield what all processes have counted, and what the stores hold."""
    counted = [] if figures["uncounted"] else [((figures["store"],), figures["counters"])]
    yield from _counters("store_", _ALL, counted, ("store",))
    yield _gauge(
        "store_processes", f"Processes that have counted, {_ALL}",
        [((figures["store"],), figures["processes"])], ("store",),
    )  # fmt: skip
    yield from _stores(figures)


def _process(source: Source) -> Iterator[Metric]:
    cache, observer = source.cache, source.observer
    assert cache is not None
    tally = cache.recorder.tally()
    of_plugins: dict[str, dict[str, float]] = {}
    for subject, counts in tally.subjects.items():
        sums = of_plugins.setdefault(subject.plugin, {})
        for name, number in counts.items():
            sums[name] = sums.get(name, 0) + number
    found = [((plugin,), counts) for plugin, counts in sorted(of_plugins.items())]
    yield from _counters("", _HERE, found, ("plugin",))
    if observer is not None:
        yield _histogram("lookup_seconds", "Time to find a hit", "tier", observer.lookups)
        yield _histogram("encode_seconds", "Time to encode on a miss", "plugin", observer.encodes)
    memory = cache.chain.memory
    for name, number in (
        ("memory_entries", len(memory)),
        ("memory_bytes", memory.bytes),
        ("memory_limit_bytes", memory.limit),
    ):
        yield _gauge(name, f"Ready values {_HERE}: {name.partition('_')[2]}", [((), number)])
    states = [tier.state() for tier in cache.chain.tiers]
    yield _gauge(
        "breaker_open", f"1 while a store is left alone because it fails, {_HERE}",
        [
            ((state["name"], verb), float(state[verb] != "closed"))
            for state in states
            for verb in ("reading", "writing", "locking")
        ],
        ("tier", "verb"),
    )  # fmt: skip


def _counters(
    prefix: str,
    where: str,
    found: Sequence[tuple[tuple[str, ...], Mapping[str, float]]],
    labels: tuple[str, ...],
) -> Iterator[Metric]:
    for ours, name, label, text in _COUNTED:
        family = CounterMetricFamily(
            f"{PREFIX}_{prefix}{name}", f"{text}, {where}",
            labels=(*((label,) if label else ()), *labels),
        )  # fmt: skip
        for values, counts in found:
            if label:
                for member, number in _members(counts, ours):
                    family.add_metric((member, *values), number)
            else:
                family.add_metric(values, counts.get(ours, 0))
        yield family


def _members(counts: Mapping[str, float], ours: str) -> list[tuple[str, float]]:
    """Name the members of a family, the most frequent if a store claims that there are too many."""
    found = [(n.removeprefix(ours), v) for n, v in counts.items() if n.startswith(ours)]
    found.sort(key=lambda one: (-one[1], one[0]))
    others = [number for _, number in found[MOST_MEMBERS:]]
    return sorted(found[:MOST_MEMBERS]) + ([(_OTHERS, sum(others))] if others else [])


def _stores(figures: Mapping[str, Any]) -> Iterator[Metric]:
    tiers = [tier for tier in figures["tiers"] if "store" in tier]
    labels = ("tier", "store")
    for name, text in _SIZES.items():
        yield _gauge(
            f"{name}_bytes" if name == "limit" else name, text,
            [
                ((tier["name"], tier["store"]), tier[name])
                for tier in tiers
                if not tier["error"] and tier[name] is not None
            ],
            labels,
        )  # fmt: skip
    up = [((tier["name"], tier["store"]), float(not tier["error"])) for tier in tiers]
    yield _gauge("store_up", "1 while a store answers", up, labels)


def _watched(watched: Sequence[Mapping[str, Any]]) -> Iterator[Metric]:
    well = {"busy", "idle"}
    up = [((one["folder"],), float(one["status"] in well)) for one in watched]
    yield _gauge("prewarm_up", "1 while a folder is watched as it should be", up, ("folder",))
    silent = [((one["folder"],), one["silent"]) for one in watched]
    text = "Time since the daemon of a folder has given a sign of life"
    yield _gauge("prewarm_silent_seconds", text, silent, ("folder",))
    in_hand = [
        ((one["folder"],), max((hand["seconds"] for hand in one.get("in_hand", ())), default=0))
        for one in watched
    ]
    text = "For how long the voice in hand has been encoded"
    yield _gauge("prewarm_in_hand_seconds", text, in_hand, ("folder",))
    voices = [
        ((one["folder"], state), number)
        for one in watched
        for state, number in (one.get("voices") or {}).items()
    ]
    text = "Voices in a watched folder, by state"
    yield _gauge("prewarm_voices", text, voices, ("folder", "state"))


def _gauge(
    name: str,
    text: str,
    found: Iterable[tuple[tuple[str, ...], float]],
    labels: tuple[str, ...] = (),
) -> Metric:
    family = GaugeMetricFamily(f"{PREFIX}_{name}", text, labels=labels)
    for values, number in found:
        family.add_metric(values, number)
    return family


def _histogram(name: str, text: str, label: str, found: Mapping[str, Histogram]) -> Metric:
    family = HistogramMetricFamily(f"{PREFIX}_{name}", f"{text}, {_HERE}", labels=(label,))
    for value, histogram in list(found.items()):
        family.add_metric((value,), histogram.cumulative(), histogram.sum)
    return family
