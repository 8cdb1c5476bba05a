"""The command line of a Python interpreter, taken apart as the interpreter itself does it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

_WITH_VALUE: Final = frozenset("cmWX")
_PROGRAMS: Final = {"c": "code", "m": "module"}
_LONG_WITH_VALUE: Final = "--check-hash-based-pycs"


class CommandLine(NamedTuple):
    """What an interpreter is asked to do.

    `options` are its own, `letters` those of them that are single letters. `kind` is "script",
    "module", "code", "stdin" (a lone `-`) or "none"; `program` is the path, name or text.
    """

    options: tuple[str, ...]
    letters: frozenset[str]
    kind: str
    program: str
    arguments: tuple[str, ...]


def take_apart(words: Sequence[str]) -> CommandLine:
    """Take apart everything after the name of the interpreter."""
    options: list[str] = []
    letters: set[str] = set()
    rest = list(words)
    while rest and rest[0].startswith("-") and rest[0] not in {"-", "--"}:
        word = rest.pop(0)
        if word.startswith("--"):
            options.append(word)
            if word == _LONG_WITH_VALUE and rest:
                options.append(rest.pop(0))
            continue
        flags, taker, value = _cluster(word)
        letters.update(flags + taker)
        if taker and not value:
            if not rest:
                break  # the interpreter will say that something is missing
            value = rest.pop(0)
        if taker in _PROGRAMS:
            options.extend([f"-{flags}"] if flags else [])
            return _line(options, letters, _PROGRAMS[taker], value, rest)
        options.extend([f"-{flags}{taker}", value] if taker else [word])
    if rest[:1] == ["--"]:
        rest.pop(0)
    if not rest:
        return _line(options, letters, "none", "", [])
    kind = "stdin" if rest[0] == "-" else "script"
    return _line(options, letters, kind, rest[0], rest[1:])


def _cluster(word: str) -> tuple[str, str, str]:
    """Split `-uWignore` into the flags `u`, the letter `W` that takes a value, and the value."""
    for at, letter in enumerate(word):
        if letter in _WITH_VALUE:
            return word[1:at], letter, word[at + 1 :]
    return word[1:], "", ""


def _line(
    options: list[str], letters: set[str], kind: str, program: str, arguments: list[str]
) -> CommandLine:
    return CommandLine(tuple(options), frozenset(letters), kind, program, tuple(arguments))
