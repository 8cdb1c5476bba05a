"""Which settings are worth having: faster beyond what varies anyway, and with the same voice.

An encoder that dithers never gives the same tokens twice. So a setting is compared with how far
runs of the encoder as it is agree among each other, stream by stream and recording by recording.
"""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from stepaudio_cas.measure.agreement import NUMBERS, Agreement, agree

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from stepaudio_cas.measure.agreement import Stream
    from stepaudio_cas.measure.tuned import Measured

FASTER: Final = "faster"
NOT_FASTER: Final = "not faster"
CHANGES: Final = "changes the voice"
IMPOSSIBLE: Final = "not possible"
NOTHING: Final = "changes nothing"
FAILED: Final = "failed"

_WORTH: Final = 1.03
"""A gain below this is not worth a line in somebody's configuration."""

TURNS: Final = 10
_LOSSES: Final = 1
"""A setting that does nothing wins all turns but one by chance once in a hundred times."""

_SAME_ANGLE: Final = 1e-4
"""Two embeddings or spectrograms whose cosines differ by less sound alike."""

_DROWNED: Final = 0.5
"""Where two runs as it is agree less, anything would pass for noise."""


class Pairs(NamedTuple):
    """How far runs agree, for one stream of one recording: with the same noise, and with other."""

    same: list[Agreement]
    other: list[Agreement]


class Compared(NamedTuple):
    """A stream of all recordings: what a setting's runs agree with the untuned, and these alone."""

    name: str
    kind: str
    same: float
    other: float
    own: float
    own_least: float
    length: int
    distance: float
    differs: bool

    def as_document(self) -> dict[str, Any]:
        """Write it for programs; a distance that is none is left out."""
        found = self._asdict()
        if self.kind != NUMBERS or not math.isfinite(self.distance):
            del found["distance"]
        return found


def spread(seconds: Sequence[float]) -> dict[str, float]:
    """Sum up times."""
    low, middle, high = quartiles(seconds)
    return {"median": middle, "q1": low, "q3": high, "min": min(seconds), "max": max(seconds)}


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the quartiles; of a single value, that three times."""
    if len(values) < 2:
        return values[0], values[0], values[0]
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


def is_faster(seconds: Sequence[float], untuned: Sequence[float]) -> bool:
    """Tell whether the slower runs are still faster than the faster ones as it is."""
    gain = statistics.median(untuned) / max(statistics.median(seconds), 1e-12)
    return gain >= _WORTH and quartiles(seconds)[2] < quartiles(untuned)[0]


def is_lost(pairs: Sequence[tuple[float, float]]) -> bool:
    """Tell whether a setting has been slower in too many turns. Pairs are untuned and tuned."""
    return sum(tuned >= untuned for untuned, tuned in pairs) > _LOSSES


def holds(pairs: Sequence[tuple[float, float]]) -> bool:
    """Tell whether a setting is faster in turns: in nearly all of them, and by enough."""
    return not is_lost(pairs) and sum_up_turns(pairs)["speedup"] >= _WORTH


def sum_up_turns(pairs: Sequence[tuple[float, float]]) -> dict[str, Any]:
    """Say what came of turns."""
    gains = [untuned / max(tuned, 1e-12) for untuned, tuned in pairs]
    faster = sum(gain > 1 for gain in gains)
    return {"turns": len(pairs), "faster": faster, "speedup": statistics.median(gains)}


def compare(
    untuned: Sequence[Sequence[Measured]], tuned: Sequence[Measured], tolerance: float
) -> list[Compared]:
    """Compare runs with those of the encoder as it is, which were made in several processes."""
    found: dict[str, list[tuple[Stream, Pairs, Pairs]]] = {}
    all_runs = [(n, run) for process in untuned for n, run in enumerate(process)]
    for place, recording in enumerate(untuned[0][0].results):
        for number, stream in enumerate(recording):

            def of(run: Measured, place: int = place, number: int = number) -> Stream | None:
                return _at(run, place, number)

            own = _pairs(_own(all_runs), of)
            with_tuned = _pairs(_across(all_runs, list(enumerate(tuned))), of)
            found.setdefault(stream.name, []).append((stream, own, with_tuned))
    return [_sum_up(name, of_all, tolerance) for name, of_all in found.items()]


Numbered = tuple[int, "Measured"]


def _own(runs: Sequence[Numbered]) -> Iterator[tuple[Numbered, Numbered]]:
    for place, one in enumerate(runs):
        yield from ((one, other) for other in runs[place + 1 :])


def _across(
    runs: Sequence[Numbered], others: Sequence[Numbered]
) -> Iterator[tuple[Numbered, Numbered]]:
    yield from ((one, other) for one in runs for other in others)


def _at(run: Measured, place: int, number: int) -> Stream | None:
    try:
        return run.results[place][number]
    except IndexError:
        return None


def _pairs(pairs: Iterable[tuple[Numbered, Numbered]], of: Any) -> Pairs:
    found = Pairs([], [])
    for (n, one), (m, other) in pairs:
        left, right = of(one), of(other)
        if left is None or right is None or left.name != right.name:
            agreement = Agreement(0.0)
        else:
            agreement = agree(left, right)
        (found.same if n == m else found.other).append(agreement)
    return found


def _sum_up(name: str, of_all: Sequence[tuple[Stream, Pairs, Pairs]], tolerance: float) -> Compared:
    """Put the recordings together. One on which a setting differs beyond the noise is enough."""
    kind = of_all[0][0].kind
    slack = max(tolerance, _SAME_ANGLE) if kind == NUMBERS else tolerance
    differs = any(_differs(own, tuned, slack) for _, own, tuned in of_all)
    every = [(own, tuned) for _, own, tuned in of_all]
    own_shares = [a.share for own, _ in every for a in (*own.same, *own.other)]
    return Compared(
        name,
        kind,
        same=_middle(a.share for _, tuned in every for a in tuned.same),
        other=_middle(a.share for _, tuned in every for a in (tuned.other or tuned.same)),
        own=_middle(a.share for own, _ in every for a in (own.other or own.same)),
        own_least=min(own_shares, default=1.0),
        length=max((a.length for _, tuned in every for a in tuned.same), key=abs, default=0),
        distance=max((a.distance for _, tuned in every for a in tuned.same), default=0.0),
        differs=differs,
    )


def _differs(own: Pairs, tuned: Pairs, slack: float) -> bool:
    """Tell whether a setting changes more than the noise does.

    Half of the pairs agree less than the worst pair of runs as it is; or, where the noise can be
    held still, half of the pairs of the same noise agree less than half of those of other noise.
    Where noise changes nearly everything, only the same noise tells.
    """
    least = min((a.share for a in (*own.same, *own.other)), default=1.0)
    longest = max((abs(a.length) for a in (*own.same, *own.other)), default=0)
    same, other = _middle(a.share for a in tuned.same), _middle(a.share for a in tuned.other)
    noise = _middle(a.share for a in own.other)
    still = bool(own.same) and all(a.share >= 1 - slack for a in own.same)
    if noise < _DROWNED:
        return same < 1 - slack
    lengths = statistics.median([abs(a.length) for a in (*tuned.same, *tuned.other)] or [0])
    return min(same, other) < least - slack or (still and same < noise - slack) or lengths > longest


def _middle(values: Iterable[float]) -> float:
    found = list(values)
    return statistics.median(found) if found else 1.0


def say_difference(compared: Sequence[Compared]) -> str:
    """Say by what a setting changes the voice."""
    worst = [c for c in compared if c.differs]
    return "; ".join(
        f"{c.name}: {_share(min(c.same, c.other))} agree, of two runs as it is {_share(c.own)}"
        + (f"; {c.length:+d} long" if c.length else "")
        + ("; too noisy to tell: are longer recordings better?" if c.own < _DROWNED else "")
        for c in worst
    )


def _share(value: float) -> str:
    return f"{value:.1%}" if 0 <= value <= 1 else f"{value:.3f}"


def choose(settings: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Put together the words of settings that are worth having: of one word, the faster value."""
    plan: dict[str, Any] = {}
    for setting in sorted(settings, key=lambda s: s["speedup"], reverse=True):
        if setting["verdict"] == FASTER and plan.keys().isdisjoint(setting["plan"]):
            plan |= setting["plan"]
    return plan
