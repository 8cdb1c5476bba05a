"""Sizes and durations as people write them."""

from __future__ import annotations

import math
import re
from typing import Final, NamedTuple

_NUMBER: Final = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*").fullmatch
_BYTES: Final = {
    "": 1, "b": 1,
    "k": 1000, "kb": 1000, "m": 1000**2, "mb": 1000**2, "g": 1000**3, "gb": 1000**3,
    "t": 1000**4, "tb": 1000**4,
    "kib": 1024, "mib": 1024**2, "gib": 1024**3, "tib": 1024**4,
}  # fmt: skip
_SECONDS: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800, "y": 31536000}


class Lifetimes(NamedTuple):
    """How long entries stay after their last use, in seconds; None is for ever.

    `plugins` has the names of plugins with times of their own; of what is called `a.b.c`, that of
    `a.b` goes before that of `a`.
    """

    others: float | None = None
    plugins: tuple[tuple[str, float], ...] = ()

    def of(self, plugin: str) -> float | None:
        """Return the time of entries of a plugin."""
        ours = [
            (len(name), seconds)
            for name, seconds in self.plugins
            if plugin == name or plugin.startswith(f"{name}.")
        ]
        return max(ours)[1] if ours else self.others

    @property
    def longest(self) -> float | None:
        """Return the time after which nothing stays."""
        return max([self.others, *dict(self.plugins).values()]) if self.others else None

    def __bool__(self) -> bool:
        return self.others is not None or bool(self.plugins)


def lifetimes(given: float | Lifetimes | None) -> Lifetimes:
    """Return the same as one kind of thing."""
    return given if isinstance(given, Lifetimes) else Lifetimes(given)


def parse_bytes(text: str) -> int:
    """Read `512`, `256MB`, `1.5GiB`. Raises `ValueError` saying what is allowed."""
    return int(_parse(text, _BYTES, "a size such as 512, 256MB or 1.5GiB"))


def parse_seconds(text: str) -> float:
    """Read `90`, `15m`, `24h`, `30d`. Raises `ValueError` saying what is allowed."""
    return _parse(text, _SECONDS, "a duration such as 90, 15m, 24h or 30d")


def parse_lifetimes(text: str) -> float | Lifetimes:
    """Read `30d`, or `30d,funasr=2h`: another time for a plugin. One of them may be left out."""
    others: float | None = None
    plugins: dict[str, float] = {}
    for item in text.split(","):
        name, equals, time = item.rpartition("=")
        seconds = parse_seconds(time)
        name = name.strip()
        if bool(equals) is not bool(name) or name in plugins or (not name and others is not None):
            raise ValueError(f"{text!r} is not a duration, or several such as 30d,funasr=2h")
        if name:
            plugins[name] = seconds
        else:
            others = seconds
    if not plugins and others is not None:
        return others
    return Lifetimes(others, tuple(sorted(plugins.items())))


def show_bytes(number: float) -> str:
    """Write a size for people."""
    for unit in ("B", "KB", "MB", "GB"):
        if abs(number) < 1000:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} TB"


def show_seconds(seconds: float) -> str:
    """Write a duration for people."""
    if seconds < 0.001:
        return f"{seconds * 1e6:.0f} µs"
    if seconds < 1:
        return f"{seconds * 1e3:.1f} ms"
    if seconds < 120:
        return f"{seconds:.2f} s"
    if seconds < 7200:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:.1f} h"


def show_spread(middle: float, low: float, high: float) -> str:
    """Write durations, all in the unit of the first."""
    shown, unit = show_seconds(middle).split()
    scale = {"µs": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0}[unit]
    ends = (f"{bound / scale:.{0 if bound >= 100 * scale else 1}f}" for bound in (low, high))
    return f"{shown} {unit} ({'-'.join(ends)})"


def _parse(text: str, units: dict[str, int], allowed: str) -> float:
    match = _NUMBER(text)
    factor = units.get(match[2].lower()) if match else None
    number = float(match[1]) * factor if match and factor else math.inf
    if number == math.inf:
        raise ValueError(f"{text!r} is not {allowed}")
    return number
