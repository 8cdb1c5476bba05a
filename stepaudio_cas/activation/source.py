"""The code that a host method runs, as text: what it was when it was loaded, and what is changed.

The text of a class is taken at once, because its file may hold a newer version by the time it is
needed. Later on, each call compares objects, which is cheap, and only what is not the object of
then is described anew.
"""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING, Any, Final

from stepaudio_cas.errors import Bypass
from stepaudio_cas.identity.digest import digest_bytes
from stepaudio_cas.identity.fingerprint import source_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_CODE: Final = (FunctionType, property, staticmethod, classmethod)
_MAIN: Final = ("__main__", "__mp_main__")


class HostSource:
    """The class of a host, the functions of its module that it calls, and their texts."""

    def __init__(
        self, found: type, helpers: Sequence[str], namespace: Mapping[str, Any], module: str
    ) -> None:
        self._found = found
        self._helpers = tuple(helpers)
        self._namespace = namespace
        self._texts: dict[str, str | None] = {found.__name__: _text(found)}
        for name in self._helpers:
            if namespace.get(name) is not None:
                self._texts[name] = _text(namespace[name])
        if module in _MAIN:  # what it calls may be further down in the script
            self._texts["script"] = _module_text(found)
        self._names: tuple[str, ...] = ()
        self._then: dict[str, Any] = {}
        self._stands_for: dict[int, Any] = {}

    def settle(self) -> None:
        """Take what the class has now for what the text describes: its methods are patched."""
        code = {name: part for name, part in vars(self._found).items() if isinstance(part, _CODE)}
        self._names = tuple(code)
        self._then = {**code, **self._helpers_now()}

    def state(self, instance: Any, called: str) -> tuple[Any, ...]:
        """Return the objects that a call of a method of this instance is going to run."""
        own = getattr(instance, "__dict__", {})
        if not own.keys().isdisjoint(self._names):
            raise Bypass("changed-host", "a method of this one instance was replaced")
        attributes, known = vars(self._found), self._namespace
        return (
            type(instance),
            *[attributes.get(name) for name in self._names if name != called],
            *[known.get(name) for name in self._helpers],
        )

    def texts(self, instance: Any, called: str) -> dict[str, str]:
        """Describe what `state` has found. Raises `Bypass` for what has no text."""
        texts = dict(self._texts)
        kinds = type(instance).__mro__
        if self._found not in kinds:
            raise Bypass("changed-host", "it is called on an instance of another class")
        for kind in kinds[: kinds.index(self._found)]:
            texts[f"{kind.__qualname__}({self._found.__name__})"] = source_of(kind)
        now = {name: vars(self._found).get(name) for name in self._names} | self._helpers_now()
        for name, code in now.items():
            if name != called and code is not self._then.get(name):
                texts[f"{name} (replaced)"] = _replacement(name, code)
        for name, text in texts.items():
            if text is None:
                raise Bypass("no-source", f"the source of {name} cannot be read")
        return {name: text for name, text in texts.items() if text is not None}

    def _helpers_now(self) -> dict[str, Any]:
        return {name: self._namespace.get(name) for name in self._helpers}


def texts_of(code: Sequence[Any]) -> dict[str, str]:
    """Read the modules of classes (with their base classes of the same package) and functions.

    Each is named without its package: that is called otherwise where the host is part of another.
    """
    texts: dict[str, str] = {}
    read: list[Any] = []
    for part in code:
        package = _package(part)
        family = part.__mro__ if isinstance(part, type) else (part,)
        for member in family if part is not None else ():
            if _package(member) != package or any(member is other for other in read):
                continue
            read.append(member)
            text = _module_text(member)
            name = f"{member.__module__.rpartition('.')[2]}.{member.__qualname__}"
            if text is None:
                raise Bypass("no-source", f"the source of {name} cannot be read")
            while name in texts:  # of another package
                name += "'"
            texts[name] = text
    return texts


def _package(part: Any) -> str:
    return str(getattr(part, "__module__", "")).partition(".")[0]


def _text(code: Any) -> str | None:
    """Return the text of a class or function; without one, what tells its file from others."""
    try:
        return source_of(code)
    except Bypass:
        return _module_text(code)


def _module_text(code: Any) -> str | None:
    module = sys.modules.get(str(getattr(code, "__module__", "")))
    if module is None:
        return None
    try:
        return inspect.getsource(module)
    except (OSError, TypeError):
        pass
    try:  # compiled
        return f"file {digest_bytes(Path(str(module.__file__)).read_bytes())}"
    except (AttributeError, OSError):
        return None


def _replacement(name: str, code: Any) -> str:
    """Describe a function that somebody has put in the place of a host's own."""
    if not isinstance(code, FunctionType) or code.__closure__:
        raise Bypass("changed-host", f"{name} was replaced by something without a text of its own")
    try:
        return inspect.getsource(code.__code__)  # not that of what it wraps
    except (OSError, TypeError):
        raise Bypass("no-source", f"the source of {name} cannot be read") from None
