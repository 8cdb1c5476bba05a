"""A picture of `cas-tool tune`: what is faster, and what still sounds the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from stepaudio_cas.cli import plots
from stepaudio_cas.measure.verdict import CHANGES, FASTER

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_COLOURS: Final = {FASTER: plots.COLOURS[2], CHANGES: "#b5483a"}


def draw(found: Mapping[str, Any], path: str) -> None:
    """Draw the time of each setting, and its agreement beside the encoder's own."""
    settings = [s for s in found["settings"] if "seconds" in s]
    figure, (speed, agreement) = plots.figure(2, f"Tuning of {found['host'].partition('?')[0]}")
    _speed(speed, found["untuned"], settings)
    _agreement(agreement, found["untuned"]["agreement"], settings)
    agreement.set_yticklabels([])
    for panel in (speed, agreement):
        panel.set_ylim(len(settings) + 0.6, -0.6)  # as it is on top
        panel.grid(axis="y", visible=False)
        panel.grid(axis="x", color="#e4e4e4", linewidth=0.8)
    plots.save(figure, path)


def _speed(panel: Any, untuned: Mapping[str, Any], settings: Sequence[Mapping[str, Any]]) -> None:
    names = ["as it is", *(s["words"].replace(",", ",\n") for s in settings)]
    times = [untuned["seconds"], *(s["seconds"] for s in settings)]
    colours = [plots.COLOURS[0], *(_COLOURS.get(s["verdict"], plots.COLOURS[4]) for s in settings)]
    whiskers = [
        [t["median"] - t["q1"] for t in times],
        [t["q3"] - t["median"] for t in times],
    ]
    places = range(len(names))
    panel.barh(places, [t["median"] for t in times], xerr=whiskers, color=colours, capsize=3)
    panel.set_yticks(places, names)
    panel.set_xlabel("seconds, median and quartiles")
    panel.set_xlim(left=0)


def _agreement(
    panel: Any, own: Sequence[Mapping[str, Any]], settings: Sequence[Mapping[str, Any]]
) -> None:
    places = range(len(settings) + 1)
    for number, stream in enumerate(own):
        colour = plots.COLOURS[number % len(plots.COLOURS)]
        shares = [stream["own"]]
        for setting in settings:
            of = {c["name"]: c["other"] for c in setting["agreement"]}
            shares.append(of.get(stream["name"], 0.0))
        panel.plot(shares, places, "o", color=colour, label=stream["name"], clip_on=False)
        panel.axvline(stream["own_least"], color=colour, linewidth=0.8, linestyle=":")
    panel.set_yticks(places)
    panel.set_xlabel("agreement with the encoder as it is")
    panel.set_xlim(-0.02, 1.02)
    panel.legend(
        fontsize=8, frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncol=max(len(own), 1)
    )
