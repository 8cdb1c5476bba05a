"""A run as Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from stepaudio_cas.units import show_seconds
from tools.bench import maintenance

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_CONSEQUENCES: Final = {
    "torchaudio": "the host's resampling is scipy's here, not torchaudio's",
    "scipy": "needed for resampling where torchaudio cannot be loaded",
    "librosa": "the host's own path cannot be re-created, and is not measured",
    "joblib": "joblib.Memory is not measured",
    "diskcache": "diskcache is not measured",
    "torch": "the clip is a NumPy array here, not a tensor",
}


def render(document: dict[str, Any], *, level: int = 1) -> str:
    """Write a document of `suite.run`, with headings from `level` on."""
    figures, heading = document["figures"], "#" * (level + 1)
    parts = [
        f"{'#' * level} Benchmark of stepaudio-cas, {document['scale']} run",
        show_machine(document),
        show_missing(document["missing"]),
        f"{heading} Bars",
        bars_table(document["bars"]),
        f"{heading} Memory hit",
        pairs_table(figures["memory_hit"]),
        f"{heading} Disk hit, memory tier off",
        pairs_table(figures["disk_hit"]),
        f"{heading} Where the time of a hit goes",
        _stages(figures["stages"]),
        f"{heading} Miss overhead",
        _misses(figures["miss"]),
        f"{heading} One new key, wanted by everybody at once",
        show_stampede(figures["stampede"]),
        f"{heading} Repeated requests",
        _repeats(figures["repeats"]),
        f"{heading} Throughput",
        _throughput(figures["throughput"]),
        f"{heading} Maintenance",
        maintenance.table(figures["maintenance"]),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def show_machine(document: dict[str, Any]) -> str:
    """Say when, how long and on what."""
    machine = document["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    return (
        f"{machine['when']}, {document['seconds']:.0f} s. {machine['processor']},"
        f" {machine['cores']} cores, {machine['system']}, stores on {machine['file_system']};"
        f" load before and after {' and '.join(map(str, machine['load']))}."
        f" stepaudio-cas {machine['stepaudio_cas']}, Python {machine['python']}, {versions}."
    )


def show_missing(missing: dict[str, str]) -> str:
    """Say what was not there to compare with."""
    return "\n".join(
        f"- **{name} is missing**: {_CONSEQUENCES.get(name, 'not measured')} ({why})"
        for name, why in missing.items()
    )


def bars_table(bars: list[dict[str, Any]]) -> str:
    """Write what had to be reached, and whether it was."""

    def row(bar: dict[str, Any]) -> tuple[str, ...]:
        if bar["value"] is None:
            return bar["name"], "not measured", show_number(bar["limit"]), "**no**"
        value = show_number(bar["value"])
        if bar["quartiles"]:
            value += " ({}-{})".format(*map(show_number, bar["quartiles"]))
        return bar["name"], value, show_number(bar["limit"]), "yes" if bar["ok"] else "**no**"

    return make_table(("bar", "value (quartiles)", "at most", "reached"), map(row, bars))


def pairs_table(table: dict[str, Any]) -> str:
    """Write what takes how long beside what, from `Pairs.figures`."""

    def row(name: str, found: dict[str, Any]) -> tuple[str, ...]:
        ratio = found["ratio"]
        quartiles = f"{show_number(ratio['low'])}-{show_number(ratio['high'])}"
        return (
            name,
            show_seconds(found["reference_seconds"]["median"]),
            show_seconds(found["seconds"]["median"]),
            f"{show_number(ratio['median'])} ({quartiles})",
            f"{show_number(1 / ratio['median'])} x",
            str(found["blocks"]),
        )

    header = ("compared with", "it takes", "our hit", "ours / it (quartiles)", "it / ours", "pairs")
    return make_table(header, (row(name, found) for name, found in table.items()))


def _stages(table: dict[str, Any]) -> str:
    def row(name: str, found: dict[str, float]) -> tuple[str, str]:
        median, low, high = (show_number(found[part]) for part in ("median", "low", "high"))
        return name, f"{median} ({low}-{high})"

    header = ("part", "in units of the BLAKE3 (quartiles)")
    return make_table(header, (row(name, found) for name, found in table.items()))


def _misses(table: dict[str, Any]) -> str:
    def row(name: str, found: dict[str, Any]) -> tuple[str, ...]:
        over = found["overhead_seconds"]
        return (
            name,
            "{} ({}-{})".format(*(show_seconds(over[part]) for part in ("median", "low", "high"))),
            show_seconds(found["p95_seconds"]),
            f"{found['share_of_1_s']:.3%}",
            f"{found['share_of_100_ms']:.2%}",
        )

    header = ("", "added to an encode (quartiles)", "95 % below", "of 1 s", "of 100 ms")
    return make_table(header, (row(name, found) for name, found in table.items()))


def show_stampede(found: dict[str, Any]) -> str:
    return (
        f"{found['threads']} threads in each of {found['processes']} processes,"
        f" {found['rounds']} new keys in turn. Encodes of each key:"
        f" {_several(found['encodes'])}. Different results handed out for each:"
        f" {_several(found['different_results'])}. Errors counted: {found['errors']}."
    )


def _repeats(rows: list[dict[str, Any]]) -> str:
    def row(found: dict[str, Any]) -> tuple[str, ...]:
        ideal, share, published = found["ideal"], found["share_of_ideal"], found["published"]
        return (
            show_seconds(found["encode_seconds"]),
            f"{found['repeated']:.0%}",
            f"{show_number(found['speedup'])} x",
            "-" if ideal is None else f"{ideal} x",
            "-" if share is None else f"{share:.1%}",
            "-" if published is None else f"{published:.3g} x",
            str(found["rounds"]),
        )

    header = ("an encode", "repeated", "throughput", "ideal", "of the ideal", "published recipe")
    return make_table((*header, "rounds"), map(row, rows))


def _throughput(rows: list[dict[str, Any]]) -> str:
    def row(found: dict[str, Any]) -> tuple[str, ...]:
        names = ("processes", "threads")
        rates = ("blake3_per_second", "memory_per_second", "disk_per_second")
        return (
            *(str(found[name]) for name in names),
            *(f"{found[name]:,.0f}" for name in rates),
            str(found["not_hits"]),
        )

    header = ("processes", "threads each", "BLAKE3 / s", "memory hits / s", "disk hits / s")
    return make_table((*header, "calls that were no hit"), map(row, rows))


def _several(numbers: Sequence[int]) -> str:
    if len(set(numbers)) == 1:
        return f"{numbers[0]} every time"
    return ", ".join(map(str, numbers))


def show_number(value: float) -> str:
    """Write a number with three digits or so."""
    if type(value) is int:
        return str(value)
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3f}" if value >= 0.1 else f"{value:.3g}"


def make_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write any table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
