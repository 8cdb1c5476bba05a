"""The tables in docs/benchmarks.md are what the tool printed, put there by the tool."""

from __future__ import annotations

from pathlib import Path
from typing import Final

PAGE: Final = Path(__file__).resolve().parents[2] / "docs" / "benchmarks.md"
BEGIN: Final = "<!-- tools/bench begin: written by the tool, do not edit -->"
END: Final = "<!-- tools/bench end -->"


def check_page(page: Path, begin: str = BEGIN, end: str = END) -> None:
    """Raise `ValueError`, before anything is measured, if there is no place for the result."""
    _split(page.read_text(encoding="utf-8"), page, begin, end)


def update_page(page: Path, text: str, begin: str = BEGIN, end: str = END) -> None:
    """Replace what is between the two markers."""
    before, after = _split(page.read_text(encoding="utf-8"), page, begin, end)
    page.write_text(f"{before}{begin}\n\n{text.strip()}\n\n{end}{after}", encoding="utf-8")


def _split(page: str, path: Path, begin: str, end: str) -> tuple[str, str]:
    if page.count(begin) != 1 or page.count(end) != 1 or page.index(end) < page.index(begin):
        raise ValueError(f"{path} needs one line {begin!r} and, below it, one {end!r}")
    return page.partition(begin)[0], page.partition(end)[2]
