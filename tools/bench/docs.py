"""The tables in docs/benchmarks.md are what the tool printed, put there by the tool."""

from __future__ import annotations

from pathlib import Path
from typing import Final

PAGE: Final = Path(__file__).resolve().parents[2] / "docs" / "benchmarks.md"
BEGIN: Final = "<!-- tools/bench begin: written by the tool, do not edit -->"
END: Final = "<!-- tools/bench end -->"


def check_page(page: Path) -> None:
    """Raise `ValueError`, before anything is measured, if there is no place for the result."""
    _split(page.read_text(encoding="utf-8"), page)


def update_page(page: Path, text: str) -> None:
    """Replace what is between the two markers."""
    before, after = _split(page.read_text(encoding="utf-8"), page)
    page.write_text(f"{before}{BEGIN}\n\n{text.strip()}\n\n{END}{after}", encoding="utf-8")


def _split(page: str, path: Path) -> tuple[str, str]:
    if page.count(BEGIN) != 1 or page.count(END) != 1 or page.index(END) < page.index(BEGIN):
        raise ValueError(f"{path} needs one line {BEGIN!r} and, below it, one {END!r}")
    return page.partition(BEGIN)[0], page.partition(END)[2]
