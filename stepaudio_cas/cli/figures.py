"""The figures of `cas-tool stats` as a person reads them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from stepaudio_cas.cli import tables
from stepaudio_cas.units import show_bytes, show_seconds

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rich.console import Group
    from rich.table import Table

_DIGITS: Final = 12
_INDENT: Final = "  "
_SEVERAL_MACHINES: Final = 3


def draw(found: Mapping[str, Any]) -> Group:
    """Lay out what `statistics` returned."""
    from rich.console import Group  # noqa: PLC0415

    parts: list[Table | str] = [_pairs(_summary(found)), "", _tiers(found)]
    for title, table in (
        ("plugin", _groups(found["by_plugin"], "plugin")),
        ("model", _groups(_named(found["by_model"]), "model")),
        ("voices", _voices(found)),
    ):
        if found[{"plugin": "by_plugin", "model": "by_model", "voices": "top_voices"}[title]]:
            parts += ["", table]
    if found["top_voices"] and found["top_voices_short"]:
        parts.append(f"of each voice, up to {found['top_voices_short']:,.0f} hits are not listed")
    return Group(*parts)


def _summary(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    calls, hits = found["calls"], found["hits"]
    lines = [("store", found["store"]), *_span(found)]
    lines += [("cacheable calls", f"{calls:,}"), (f"{_INDENT}hits", _part(hits, calls))]
    lines += [
        (f"{_INDENT * 2}{tier['name']}", _part(tier["hits"], hits))
        for tier in found["tiers"]
        if tier["hits"]
    ]
    lines.append((f"{_INDENT}misses", _part(found["misses"], calls)))
    for title, name in (("bypasses", "bypasses_by_reason"), ("errors", "errors_by_kind")):
        lines.append((title, f"{found[title]:,}"))
        lines += [(f"{_INDENT}{kind}", f"{number:,}") for kind, number in found[name].items()]
    lines.append(("time saved", show_seconds(found["seconds_saved"])))
    lines.append(("time encoding", show_seconds(found["seconds_encoding"])))
    if found["seconds_per_hit"] is not None:
        lines.append(("a hit takes", f"{show_seconds(found['seconds_per_hit'])} on average"))
    return lines


def _span(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Say since when, and by whom."""
    if not found["processes"]:
        return [("counted", "nothing yet")]
    machines = found["machines"]
    several = len(machines) >= _SEVERAL_MACHINES
    where = f"{len(machines)} machines" if several else ", ".join(machines)
    processes = "1 process" if found["processes"] == 1 else f"{found['processes']:,} processes"
    since = time.strftime("%Y-%m-%d %H:%M", time.localtime(found["since"]))
    ago = tables.age(max(time.time() - found["since"], 0))
    return [
        ("counted since", f"{since} ({ago})"),
        ("counted by", f"{processes} on {where}" if where else processes),
    ]


def _tiers(found: Mapping[str, Any]) -> Table:
    columns = ("tier", "store", "entries", "objects", "size", "limit")
    return _table(columns, (_tier(tier) for tier in found["tiers"] if "store" in tier), columns[2:])


def _tier(tier: Mapping[str, Any]) -> list[str]:
    if tier["error"]:
        return [tier["name"], f"{tier['store']} does not answer: {tier['error']}", *[""] * 4]
    limit = tier["limit"]
    return [
        tier["name"],
        tier["store"],
        f"{tier['entries']:,}",
        f"{tier['objects']:,}",
        show_bytes(tier["bytes"]),
        f"{show_bytes(limit)} {_share(tier['bytes'], limit)}" if limit else "none",
    ]


def _groups(groups: Mapping[str, Mapping[str, Any]], title: str) -> Table:
    deep = any("entries" in line for line in groups.values())
    columns = [title, "hits", "misses", "rate", "saved", *(["entries", "size"] if deep else [])]
    lines = (
        [
            name,
            f"{line['hits']:,}",
            f"{line['misses']:,}",
            _share(line["hits"], line["hits"] + line["misses"]),
            show_seconds(line["seconds_saved"]),
            *([f"{line.get('entries', 0):,}", show_bytes(line.get("bytes", 0))] if deep else []),
        ]
        for name, line in groups.items()
    )
    return _table(columns, lines, columns[1:])


def _named(models: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    return {
        f"{model[:_DIGITS] or '(none)'}  {line['what']}".rstrip(): line
        for model, line in models.items()
    }


def _voices(found: Mapping[str, Any]) -> Table:
    lines = (
        [
            voice["name"] or "(no name)",
            voice["key"][:_DIGITS],
            voice["plugin"],
            f"{voice['hits']:,}",
            show_seconds(voice["seconds_saved"]),
        ]
        for voice in found["top_voices"]
    )
    return _table(("voice", "key", "plugin", "hits", "saved"), lines, ("hits", "saved"))


def _share(part: float, whole: float) -> str:
    return f"{part / whole:.1%}" if whole else ""


def _part(part: float, whole: float) -> str:
    return f"{part:,}  {_share(part, whole)}".rstrip()


def _pairs(lines: Iterable[tuple[str, str]]) -> Table:
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in lines:
        style = "dim" if name.startswith(_INDENT) else ""
        table.add_row(Text(tables.clean(name), style=style), Text(tables.clean(text)))
    return table


def _table(columns: Sequence[str], lines: Iterable[Sequence[str]], right: Sequence[str]) -> Table:
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        number = column in right
        table.add_column(
            column, justify="right" if number else "left", no_wrap=number, overflow="fold"
        )
    for line in lines:
        table.add_row(*(Text(tables.clean(cell)) for cell in line))
    return table
