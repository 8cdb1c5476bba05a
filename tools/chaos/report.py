"""A run as Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stepaudio_cas.units import show_seconds
from tools.bench.report import make_table as table

if TYPE_CHECKING:
    from collections.abc import Sequence


def render(document: dict[str, Any], *, level: int = 1) -> str:
    """Write what `cli` puts together, with headings from `level` on."""
    machine, parts = document["machine"], []
    parts.append(
        f"{machine['when']}. {machine['processor']}, {machine['cores']} cores,"
        f" {machine['system']}; stepaudio-cas {machine['stepaudio_cas']},"
        f" Python {machine['python']}."
    )
    for run in document["runs"]:
        parts += _run(run, "#" * level)
    return "\n\n".join(parts) + "\n"


def _run(run: dict[str, Any], heading: str) -> list[str]:
    plan, found = run["plan"], run["figures"]
    return [
        f"{heading} {', '.join(('disk', *plan['chain']))}",
        _circumstances(run),
        _promises(run["promises"]),
        _faults(found["faults"], plan["chain"]),
        _delays(found["delays"]),
        _sentences(found),
    ]


def _circumstances(run: dict[str, Any]) -> str:
    plan, found = run["plan"], run["figures"]
    return (
        f"{plan['workers']} workers on {plan['hosts']} hosts, of which {plan['passing']} come and"
        f" go with their disks every {plan['life_seconds']:.0f} s; {plan['seconds']:.0f} s of"
        f" faults, seed {plan['seed']}; an encode takes about"
        f" {show_seconds(plan['encode_seconds'])}. {found['calls']:,} calls, {found['hits']:,} of"
        f" them hits, {found['encodes']:,} encodes of {found['voices']:,} voices. Load before and"
        f" after {' and '.join(map(str, run['load']))}."
    )


def _promises(promises: Sequence[dict[str, Any]]) -> str:
    def row(promise: dict[str, Any]) -> tuple[str, ...]:
        def shown(value: float | None) -> str:
            if value is None:
                return "never"
            return show_seconds(value) if promise["unit"] == "s" else f"{value:g}"

        kept = "yes" if promise["ok"] else "**no**"
        return promise["name"], shown(promise["value"]), shown(promise["limit"]), kept

    return table(("promise", "found", "at most", "kept"), map(row, promises))


def _faults(faults: dict[str, dict[str, int]], chain: Sequence[str]) -> str:
    rows = [
        (name, *(str(places.get(place, "")) for place in chain)) for name, places in faults.items()
    ]
    return table(("fault", *chain), rows)


def _delays(rows: Sequence[dict[str, Any]]) -> str:
    header = (
        "phase",
        "call",
        "number",
        "delay: median",
        "99 % below",
        "longest",
        "with machine and disk",
    )
    times = ("median", "p99", "longest", "longest_with_machine")
    return table(
        header,
        [
            (
                row["phase"],
                row["kind"],
                f"{row['calls']:,}",
                *(show_seconds(row[name]) for name in times),
            )
            for row in rows
        ],
    )


def _sentences(found: dict[str, Any]) -> str:
    uploads, stores, agreed = found["uploads"], found["stores"], found["agreement"]
    held = ", ".join(
        f"{name} {number:,} entries ({stores['unreadable'][name]} unreadable)"
        for name, number in stores["entries"].items()
    )
    return (
        f"Of {uploads['owed']:,} uploads owed {uploads['made_good']:,.0f} were made good,"
        f" {uploads['others_were_first']:,.0f} found somebody else's there, at most"
        f" {uploads['dropped']:,.0f} were dropped and counted (promotions among them)."
        f" {found['several_values']:,} voices had more than one result handed out, all of them of"
        f" real runs, because stores were away or emptied. {found['host_exceptions']} exceptions"
        f" of the encoder's own went to its callers. After recovery {agreed['voices']} new voices"
        f" were asked for by everybody at once: at most {agreed['most_encodes']} encodes and"
        f" {agreed['most_at_once']} result for each, {agreed['most_values']} when asked again."
        f" In the end: {held}; {stores['on_disks']:,} on"
        f" the disks that stayed, of which {stores['last']} lacked"
        f" {stores['missing_before_sync']:,} before `cas-tool sync` and"
        f" {stores['missing_after_sync']:,} after it."
    )
