"""Host classes that are defined in the script itself, which no finder ever sees.

Only if the text of the script says `class <name of a host class>`, the creation of classes is
watched until that class is there. In all other processes it is left alone.
"""

from __future__ import annotations

import builtins
import os
import re
import sys
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec

    from stepaudio_cas.activation.finder import Finder

_MARK: Final = "_STEPAUDIO_CAS_MAIN"
"""Tells children that re-import the script under another name what the parent has found in it."""

_WITH_VALUE: Final = {"-W", "-X", "--check-hash-based-pycs"}
_LARGEST: Final = 4 << 20


def expect_main(finder: Finder) -> None:
    """See to it that a host class in the script (or `-m` module) is patched when it appears."""
    if "--multiprocessing-fork" in sys.orig_argv:
        if _MARK in os.environ:
            _watch_classes(finder, set(os.environ[_MARK].split(",")))
        return
    kind, name = _main_of(sys.orig_argv[1:])
    if kind == "script":
        _look_into(finder, name)
    elif kind == "module":
        finder.seen.append(lambda found, spec: _look_at_spec(finder, name, found, spec))


def _main_of(argv: list[str]) -> tuple[str, str]:
    """Work out what the interpreter was asked to run."""
    rest = iter(argv)
    for word in rest:
        if word == "-m":
            return "module", next(rest, "")
        if word.startswith("-m") and not word.startswith("--"):
            return "module", word[2:]
        if word in _WITH_VALUE:
            next(rest, None)
        elif word == "-" or word.startswith("-c"):
            return "", ""
        elif not word.startswith("-"):
            return "script", word
        elif word[1:2] != "-" and word[-1:] in {"c", "m"} and word[1:-1].isalpha():
            # Several letters in one word, as in `-uIm`.
            return ("module", next(rest, "")) if word[-1] == "m" else ("", "")
    return "", ""


def _look_at_spec(finder: Finder, wanted: str, found: str, spec: ModuleSpec) -> None:
    if found in {wanted, f"{wanted}.__main__"} and spec.origin is not None:
        _look_into(finder, spec.origin)
    if found in {wanted, f"{wanted}.__main__"} and spec.submodule_search_locations is None:
        finder.seen.clear()


def _look_into(finder: Finder, path: str) -> None:
    """Watch for the host classes that the text of this file defines."""
    if os.path.isdir(path):
        path = os.path.join(path, "__main__.py")
    try:
        with open(path, "rb") as file:
            text = file.read(_LARGEST)
    except OSError:
        return
    if b"class " not in text:
        return
    defined = {name.decode() for name in re.findall(rb"^\s*class\s+(\w+)", text, re.MULTILINE)}
    names = defined & finder.registry.class_names
    if names:
        os.environ[_MARK] = ",".join(sorted(names))
        _watch_classes(finder, names)


def _watch_classes(finder: Finder, names: set[str]) -> None:
    build: Any = builtins.__build_class__
    waiting = set(names)

    def build_and_look(function: Any, name: str, /, *bases: Any, **keywords: Any) -> Any:
        made = build(function, name, *bases, **keywords)
        if name in waiting and getattr(made, "__module__", "") in {"__main__", "__mp_main__"}:
            waiting.discard(name)
            if not waiting and builtins.__build_class__ is build_and_look:
                builtins.__build_class__ = build
            _patch(finder, made, function.__globals__)
        return made

    builtins.__build_class__ = build_and_look


def _patch(finder: Finder, made: type, namespace: dict[str, Any]) -> None:
    try:
        finder.registry.apply({**namespace, made.__name__: made}, made.__module__)
    except Exception as error:
        from stepaudio_cas.activation.session import say  # noqa: PLC0415

        say(f"{made.__name__} is left as it is: {type(error).__name__}: {error}")
