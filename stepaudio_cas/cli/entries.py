"""Entries as people and programs see them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from stepaudio_cas.cli import tables
from stepaudio_cas.maintenance import documents
from stepaudio_cas.units import show_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


DIGITS: Final = 12
"""How much of a key a table shows; log lines show as much."""

COLUMNS: Final = ("key", "what", "voice", "audio", "size", "encode", "used", "pin")
_NUMBERS: Final = ("audio", "size", "encode", "used")
_FIXED: Final = 58
"""Columns of a terminal that are taken by all but `what` and `voice`."""


def table(lines: Iterable[Mapping[str, Any]]) -> None:
    """Draw described entries, as wide as the terminal allows."""
    now = time.time()
    described = list(lines)
    voices = [_voice(line) for line in described]
    room = max(tables.width() - _FIXED, 24)
    least = max((len(_forms(line)[-1]) for line in described), default=0)
    for_what = min(max(least, room - max(map(len, voices), default=0)), room - 8)
    whats = [_fit(_forms(line), for_what) for line in described]
    for_voice = room - max(map(len, whats), default=0)
    tables.rows(
        COLUMNS,
        [
            [
                line["key"][:DIGITS],
                what,
                _fit([name], for_voice),
                _seconds(line["audio_seconds"]),
                show_bytes(line["size"]),
                _seconds(line["encode_seconds"]),
                tables.age(now - documents.moment(line["used"])) if line["used"] else "",
                "yes" if line["pinned"] else "",
            ]
            for line, what, name in zip(described, whats, voices, strict=True)
        ],
        right=_NUMBERS,
    )


def count(number: int) -> str:
    """Say a number of entries."""
    return f"{number:,} entries" if number != 1 else "1 entry"


def _forms(line: Mapping[str, Any]) -> list[str]:
    """Say what is computed, ever shorter: of a dotted name the last parts say most."""
    if line["damage"]:
        return ["damaged"]
    plugin, schema = line["plugin"] or "", line["schema"] or ""
    forms = [f"{plugin} {schema}"] if plugin not in {"", schema} else []
    parts = schema.split(".")
    forms += [".".join(parts[n:]) for n in range(len(parts))]
    return [tables.clean(form) for form in [*forms, parts[-1].partition("/")[0]]]


def _voice(line: Mapping[str, Any]) -> str:
    return tables.clean(line["damage_detail"] or line["voice"] or "")


def _fit(forms: Sequence[str], room: int) -> str:
    """Return the first form that fits, or as much as fits of the last."""
    fitting = next((form for form in forms if len(form) <= room), None)
    return fitting if fitting is not None else f"{forms[-1][: room - 1]}…"


def _seconds(seconds: float | None) -> str:
    if seconds is None:
        return ""
    if seconds < 0.1:
        return f"{seconds * 1e3:.1f} ms"
    return f"{seconds:.2f} s" if seconds < 100 else f"{seconds / 60:.1f} min"
