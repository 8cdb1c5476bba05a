"""What a chain of stores has, what it has done, and what that was worth: one document."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from stepaudio_cas.maintenance.inventory import manifests
from stepaudio_cas.maintenance.sizes import Size, measure
from stepaudio_cas.maintenance.voices import top_voices
from stepaudio_cas.runtime.opening import named
from stepaudio_cas.store import layout
from stepaudio_cas.store.counters import Counts, Tally, merge, read_tally, sum_of
from stepaudio_cas.store.local import LocalBackend

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from stepaudio_cas.store.store import Store

TOP: Final = 10
MOST_MODELS: Final = 200
"""How many fingerprints are read to say what they are."""

_MAX_BYTES: Final = 16 << 20
_SHOWN_PARTS: Final = 2


class Look(NamedTuple):
    """How far to look.

    `deep` reads every manifest of the first store, for what there is of each plugin and model.
    `remember` and `processes` are those of `sizes.measure`, and `measure` what does it. `known`
    keeps the counts of each store, which are good for one that does not answer the next time.
    """

    deep: bool = False
    top: int = TOP
    remember: bool = True
    processes: int = 1
    measure: Callable[..., Size] = measure
    known: dict[str, Tally] | None = None


_PLAINLY: Final = Look()


def statistics(
    stores: Sequence[Store],
    *,
    look: Look = _PLAINLY,
    max_size: int | None = None,
    step: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Say everything that is known of these stores.

    Entries, objects and bytes are those of the first store, and of each under `tiers`; counts are
    those of all processes that keep theirs in any of them. A store that does not answer has its
    `error` there, and the others are counted.
    """
    names = [name for name, _ in named([store.backend for store in stores])]
    looked = [_look_at(store, look, step) for store in stores]
    tally = merge(found.tally for found in looked)
    totals = tally.totals()
    kept = next((n for n, s in enumerate(stores) if isinstance(s.backend, LocalBackend)), None)
    tiers = [
        {
            "name": name,
            "store": store.url,
            "error": found.error,
            **found.size._asdict(),
            "limit": max_size if number == kept else None,
            "hits": _whole(totals.get(f"hit.{name}", 0)),
        }
        for number, (name, store, found) in enumerate(zip(names, stores, looked, strict=True))
    ]
    others = {name.removeprefix("hit.") for name in totals if name.startswith("hit.")} - {*names}
    tiers += [{"name": n, "hits": _whole(totals[f"hit.{n}"])} for n in sorted(others)]
    answering = [s for s, found in zip(stores, looked, strict=True) if found.error is None]
    first = tiers[0]
    return {
        "store": first["store"],
        **{name: first[name] for name in ("entries", "objects", "bytes", "limit", "error")},
        **_span(tally),
        **_sums(totals),
        "tiers": tiers,
        **_groups(tally, answering, step if look.deep else None),
        "top_voices": [
            {**voice._asdict(), "hits": _whole(voice.hits)}
            for voice in top_voices(answering, tally.hottest, look.top)
        ],
        "top_voices_short": _whole(tally.hottest.short),
        "counters": {name: _whole(number) for name, number in sorted(totals.items())},
    }


class _Looked(NamedTuple):
    size: Size
    tally: Tally
    error: str | None


def _look_at(store: Store, look: Look, step: Callable[[], None]) -> _Looked:
    known = {} if look.known is None else look.known
    try:
        tally = known[store.url] = read_tally(store.backend)
        size = look.measure(
            store.backend, remember=look.remember, processes=look.processes, step=step
        )
    except Exception as error:
        return _Looked(Size(), known.get(store.url, Tally()), f"{type(error).__name__}: {error}")
    return _Looked(size, tally, None)


def _span(tally: Tally) -> dict[str, Any]:
    return {
        "since": tally.since or None,
        "updated": tally.updated or None,
        "processes": tally.processes,
        "machines": sorted(tally.machines),
    }


def _sums(totals: Counts) -> dict[str, Any]:
    hits, misses = sum_of(totals, "hit."), sum_of(totals, "miss")
    return {
        "calls": _whole(hits + misses),
        "hits": _whole(hits),
        "misses": _whole(misses),
        "hit_rate": hits / (hits + misses) if hits + misses else None,
        "bypasses": _whole(sum_of(totals, "bypass.")),
        "bypasses_by_reason": _family(totals, "bypass."),
        "errors": _whole(sum_of(totals, "error.")),
        "errors_by_kind": _family(totals, "error."),
        "seconds_saved": totals.get("seconds.saved", 0),
        "seconds_encoding": totals.get("seconds.encode", 0),
        "seconds_per_hit": totals.get("seconds.lookup", 0) / hits if hits else None,
    }


def _family(totals: Counts, family: str) -> dict[str, float]:
    """Return the members of a family, the largest first."""
    members = [(n.removeprefix(family), v) for n, v in totals.items() if n.startswith(family)]
    return {name: _whole(v) for name, v in sorted(members, key=lambda item: (-item[1], item[0]))}


def _groups(
    tally: Tally, stores: Sequence[Store], step: Callable[[], None] | None
) -> dict[str, Any]:
    """Count by plugin, and by model with what it is; with `step`, also what there is of each."""
    by_plugin: dict[str, dict[str, Any]] = {}
    by_model: dict[str, dict[str, Any]] = {}
    for subject, counts in tally.subjects.items():
        for name, table in ((subject.plugin, by_plugin), (subject.model, by_model)):
            if name:
                _add(table.setdefault(name, _line()), counts)
    if step is not None and stores:
        for kept in manifests(stores[0].backend, step=lambda _: step()):
            if kept.manifest is not None:
                of = (kept.manifest.plugin, by_plugin), (kept.manifest.fingerprint, by_model)
                for name, table in of:
                    line = table.setdefault(name, _line())
                    line["entries"] = line.get("entries", 0) + 1
                    line["bytes"] = line.get("bytes", 0) + kept.size
    for number, model in enumerate(sorted(by_model, key=lambda m: -by_model[m]["hits"])):
        known = model and number < MOST_MODELS
        by_model[model]["what"] = _what_is(model, stores) if known else ""
    return {"by_plugin": _ordered(by_plugin), "by_model": _ordered(by_model)}


def _line() -> dict[str, Any]:
    return {"hits": 0, "misses": 0, "bypasses": 0, "seconds_saved": 0.0}


def _add(line: dict[str, Any], counts: Counts) -> None:
    line["hits"] += _whole(sum_of(counts, "hit."))
    line["misses"] += _whole(sum_of(counts, "miss"))
    line["bypasses"] += _whole(sum_of(counts, "bypass."))
    line["seconds_saved"] += sum_of(counts, "seconds.saved")


def _ordered(table: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Put what is used most first."""
    return dict(sorted(table.items(), key=lambda item: (-item[1]["hits"], item[0])))


def _what_is(model: str, stores: Sequence[Store]) -> str:
    """Describe a model by its fingerprint, if a store has that."""
    for store in stores:
        with suppress(Exception):  # an unreadable description describes nothing
            data = store.backend.get(layout.fingerprint_path(model), limit=_MAX_BYTES)
            if data is not None:
                return describe(json.loads(data))
    return ""


def describe(fingerprint: Mapping[str, Any]) -> str:
    """Say in a few words what a model is: its largest files, or its version, or its code."""
    files: Mapping[str, Any] = fingerprint.get("files", {})
    names = sorted(files, key=lambda name: (-files[name].get("size", 0), name))
    if not names:
        version = fingerprint.get("settings", {}).get("version")
        if version is not None:
            return f"version {version}"
        names = sorted(fingerprint.get("source", {}))
    more = f" and {len(names) - _SHOWN_PARTS} more" if len(names) > _SHOWN_PARTS else ""
    return ", ".join(names[:_SHOWN_PARTS]) + more


def _whole(number: float) -> float:
    """Write a count without a decimal point."""
    return int(number) if number == int(number) else number
