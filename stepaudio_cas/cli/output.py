"""Writing for people at a terminal, for pipes, and for programs."""

from __future__ import annotations

import json
import os
import shutil
import sys
import textwrap
from typing import TYPE_CHECKING, Any, Final, TextIO

if TYPE_CHECKING:
    from collections.abc import Mapping

_COLOURS: Final = {"green": "32", "yellow": "33", "red": "31", "dim": "2", "bold": "1"}
_WIDEST: Final = 120


class Output:
    """Lines on a stream: coloured and folded on a terminal, plain in a pipe."""

    def __init__(
        self, stream: TextIO | None = None, environment: Mapping[str, str] | None = None
    ) -> None:
        environment = os.environ if environment is None else environment
        self._stream = sys.stdout if stream is None else stream
        self.terminal = self._stream.isatty()
        self._coloured = (
            self.terminal and not environment.get("NO_COLOR") and environment.get("TERM") != "dumb"
        )
        self._width = min(shutil.get_terminal_size().columns, _WIDEST)

    def paint(self, text: str, colour: str) -> str:
        """Colour a text, where colours are wanted."""
        return f"\x1b[{_COLOURS[colour]}m{text}\x1b[0m" if self._coloured else text

    def line(self, text: str = "") -> None:
        """Write one line; what the stream's encoding lacks is escaped."""
        encoding = self._stream.encoding or "utf-8"
        self._stream.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")

    def folded(self, text: str, *, first: str, width: int) -> None:
        """Write a text after `first`, which takes `width` columns, and fold it under itself."""
        lines = textwrap.wrap(
            text, max(self._width - width, 30), break_long_words=False, break_on_hyphens=False
        )
        for number, part in enumerate(lines or [""]):
            self.line((first if number == 0 else " " * width) + part)

    def document(self, value: Any) -> None:
        """Write JSON."""
        self.line(json.dumps(value, indent=2, ensure_ascii=True))
