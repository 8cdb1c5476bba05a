"""Host classes that are defined in the script itself, which no finder ever sees.

Only if the text of the script says `class <name of a host class>`, the creation of classes is
watched until that class is there. In all other processes it is left alone.
"""

from __future__ import annotations

import builtins
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec
    from typing import Any

    from stepaudio_cas.activation.finder import Finder

_MARK = "_STEPAUDIO_CAS_MAIN"
"""Tells children that import the script again, under another name, which classes it defines."""

_LARGEST = 4 << 20


def expect_main(finder: Finder, main: tuple[str, str] | None = None) -> None:
    """See to it that a host class in the script (or `-m` module) is patched when it appears.

    `main` is ("script", path) or ("module", name) where the interpreter's own command line does
    not say it, because it runs our runner.
    """
    inherited = os.environ.get(_MARK)
    if inherited:
        finder.expect(inherited.split(","))
    kind, name = main or _main_of(sys.orig_argv[1:])
    if kind == "script":
        finder.expect(_classes_in(name))
    elif kind == "module" and name.partition(".")[0] not in sys.stdlib_module_names:

        def look(spec: ModuleSpec) -> None:
            _look_at_spec(finder, spec)

        finder.awaited = {name: look, f"{name}.__main__": look}


def _main_of(argv: list[str]) -> tuple[str, str]:
    """Work out what the interpreter was asked to run, by its own rules."""
    rest = iter(argv)
    for word in rest:
        if word == "--":
            return "script", next(rest, "")
        if word == "--check-hash-based-pycs":
            next(rest, None)
        elif word in {"", "-"}:
            return "", ""
        elif not word.startswith("-"):
            return "script", word
        elif not word.startswith("--"):
            letter, value = _option(word)
            if letter and not value:
                value = next(rest, "")
            if letter in {"c", "m"}:
                return ("module", value) if letter == "m" else ("", "")
    return "", ""


def _option(word: str) -> tuple[str, str]:
    """Return the letter in `-uWerror` that takes a value, and the value if it is in the word."""
    for at, letter in enumerate(word[1:], start=2):
        if letter in "cmWX":
            return letter, word[at:]
    return "", ""


def _look_at_spec(finder: Finder, spec: ModuleSpec) -> None:
    """Look into the `-m` module, now that it has been found; for a package, wait for `__main__`."""
    if spec.submodule_search_locations is None:
        finder.awaited = {}
        if spec.origin is not None:
            finder.expect(_classes_in(spec.origin))


def _classes_in(path: str) -> set[str]:
    """Name the classes that the text of this file defines, wherever in it."""
    if os.path.isdir(path):
        path = os.path.join(path, "__main__.py")
    try:
        with open(path, "rb") as file:
            text = file.read(_LARGEST)
    except (OSError, ValueError):
        return set()
    names, at = set(), text.find(b"class ")
    while at >= 0:
        if not text[text.rfind(b"\n", 0, at) + 1 : at].strip():
            rest = text[at + 6 : at + 262]
            for end in (b"\n", b":", b"(", b"["):
                rest = rest.partition(end)[0]
            names.add(rest.strip().decode("utf-8", "replace"))
        at = text.find(b"class ", at + 6)
    return names


_waiting: set[str] = set()


def watch_classes(finder: Finder, names: set[str]) -> None:
    """Have the plugins look at classes of these names as soon as the script has made them."""
    os.environ[_MARK] = ",".join(sorted(names))
    hooked = bool(_waiting)
    _waiting.update(names)
    if hooked:
        return
    build: Any = builtins.__build_class__

    def build_and_look(function: Any, name: str, /, *bases: Any, **keywords: Any) -> Any:
        made = build(function, name, *bases, **keywords)
        if name in _waiting and getattr(made, "__module__", "") in {"__main__", "__mp_main__"}:
            _look_at_class(finder, made, function.__globals__)
            if not _waiting and builtins.__build_class__ is build_and_look:
                builtins.__build_class__ = build
        return made

    builtins.__build_class__ = build_and_look


def _look_at_class(finder: Finder, made: type, namespace: dict[str, Any]) -> None:
    try:
        names = {**namespace, made.__name__: made}
        if finder.registry is not None and finder.registry.apply(names, made.__module__):
            _waiting.discard(made.__name__)
    except Exception as error:
        from stepaudio_cas.activation.session import say  # noqa: PLC0415

        say(f"{made.__name__} is left as it is: {type(error).__name__}: {error}")
