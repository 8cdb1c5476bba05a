"""Saying on the command line which entries are meant, the same way for every verb."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Final, TypeVar

from stepaudio_cas.errors import SettingError
from stepaudio_cas.maintenance.selection import Selection
from stepaudio_cas.units import Lifetimes, parse_bytes, parse_lifetimes, parse_seconds

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

WORDS: Final = "KEY|VOICE"


def add(parser: argparse.ArgumentParser, *, voices: bool = True) -> None:
    """Add `--plugin --model --older --larger`, and `--label` unless `voices` is unset."""
    group = parser.add_argument_group("which entries (all that is said must hold)")
    group.add_argument("--plugin", metavar="NAME", help="of a plugin, or a glob over schemas")
    group.add_argument("--model", metavar="ID", help="of a model: how its fingerprint begins")
    group.add_argument(
        "--older", metavar="TIME", type=duration, help="not used for longer than 90, 15m, 24h, 30d"
    )
    group.add_argument(
        "--larger", metavar="SIZE", type=size, help="of more bytes than 512, 256MB, 1.5GiB"
    )
    if voices:
        group.add_argument(
            "--label", metavar="GLOB", help="of voices with such a name: 'anna*.wav'"
        )


def add_words(parser: argparse.ArgumentParser, text: str) -> None:
    """Add keys and voices as positional arguments."""
    parser.add_argument("words", nargs="*", metavar=WORDS, help=text)


def selection(options: argparse.Namespace) -> Selection:
    """Read the filters back."""
    return Selection(
        plugin=options.plugin,
        model=options.model,
        older=options.older,
        larger=options.larger,
        label=getattr(options, "label", None),
    )


def words(options: argparse.Namespace) -> tuple[str, ...]:
    """Read the keys and voices, also those after `--`, which may begin with a dash."""
    found = (*options.words, *(options.after or ()))
    if "" in found:
        raise SettingError("an empty name means no entry; leave it out")
    return found


def size(text: str) -> int:
    """Read a size; what is wrong with it becomes a message of the parser."""
    return _said(parse_bytes, text)


def duration(text: str) -> float:
    """Read a duration."""
    return _said(parse_seconds, text)


def lifetimes(text: str) -> float | Lifetimes:
    """Read a duration, and perhaps others for some plugins."""
    return _said(parse_lifetimes, text)


def count(text: str) -> int:
    """Read a number of entries."""
    return _said(_parse_count, text)


def number(least: int) -> Callable[[str], int]:
    """Return what reads a number that must not be less."""

    def read(text: str) -> int:
        found = int(text) if text.isdecimal() else -1
        if found < least:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number of at least {least}")
        return found

    return read


def _parse_count(text: str) -> int:
    if not text.isdecimal():
        raise ValueError(f"{text!r} is not a number of entries")
    return int(text)


def _said(parse: Callable[[str], T], text: str) -> T:
    try:
        return parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
