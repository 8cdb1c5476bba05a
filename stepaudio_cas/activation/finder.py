"""A finder on `sys.meta_path` that finds nothing, but sees what is found.

When a module is about to be loaded whose name could be that of a host, its loader is made to tell
us when the module is there. The module, its loader and its spec stay what they are, so that
`inspect`, `importlib.resources` and reloading work as ever.
"""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from importlib.machinery import ModuleSpec
    from types import ModuleType

    from stepaudio_cas.activation.registry import Registry

_STANDARD = sys.stdlib_module_names


class Finder:
    """Tells the plugins of host modules as they are loaded."""

    def __init__(self) -> None:
        self._registry: Registry | None = None
        self._busy = threading.local()
        self.seen: list[Callable[[str, ModuleSpec], None]] = []

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Find nothing of our own: have the others find it, and look at what they found."""
        if name.partition(".")[0] in _STANDARD or getattr(self._busy, "flag", False):
            return None
        self._busy.flag = True
        try:
            if not self._concerns(name):
                return None
            spec = _find_elsewhere(self, name, path, target)
            if spec is not None:
                self._watch(spec)
        except Exception as error:  # an import of the host never fails because of us
            _report(f"looking at the import of {name} failed: {error}")
            return None
        else:
            return spec
        finally:
            self._busy.flag = False

    def _concerns(self, name: str) -> bool:
        """Tell whether a plugin has asked for modules of this name.

        The plugins are looked up at the first import of the host, not at the start of the
        interpreter: until then nothing of theirs can be needed, and often nothing ever is.
        """
        return bool(self.seen) or name.rpartition(".")[2] in self.registry.tails

    @property
    def registry(self) -> Registry:
        """The plugins; found when they are first asked for."""
        if self._registry is None:
            from stepaudio_cas.activation.registry import Registry  # noqa: PLC0415

            self._registry = Registry.discover()
        return self._registry

    def _watch(self, spec: ModuleSpec) -> None:
        for look in self.seen:
            look(spec.name, spec)
        loader: Any = spec.loader
        execute = getattr(loader, "exec_module", None)
        if execute is None or spec.name.rpartition(".")[2] not in self.registry.tails:
            return

        def exec_module(module: ModuleType) -> None:
            execute(module)
            self.loaded(module)

        try:
            loader.exec_module = exec_module
        except AttributeError:
            _report(f"{spec.name} is loaded by a {type(loader).__name__}, which cannot be watched")

    def loaded(self, module: ModuleType) -> None:
        """Have the plugins look at a module that is complete."""
        try:
            self.registry.apply(vars(module), module.__name__)
        except Exception as error:
            _report(f"{module.__name__} is left as it is: {type(error).__name__}: {error}")


def install() -> Finder | None:
    """Put a finder in front; None if there is one already. Look at what is loaded already."""
    if any(type(finder).__qualname__ == "Finder" and hasattr(finder, "seen") and
           type(finder).__module__ == __name__ for finder in sys.meta_path):  # fmt: skip
        return None
    finder = Finder()
    sys.meta_path.insert(0, finder)
    already = [m for name, m in list(sys.modules.items()) if _is_foreign(name) and m is not None]
    for module in already:
        if module.__name__.rpartition(".")[2] in finder.registry.tails:
            finder.loaded(module)
    return finder


def installed() -> Finder | None:
    """Return the finder of this process."""
    return next((f for f in sys.meta_path if isinstance(f, Finder)), None)


def _is_foreign(name: str) -> bool:
    top = name.partition(".")[0]
    return top not in _STANDARD and top not in {
        "__main__",
        "stepaudio_cas",
        "site",
        "sitecustomize",
    }


def _find_elsewhere(me: Finder, name: str, path: Any, target: Any) -> ModuleSpec | None:
    for finder in list(sys.meta_path):
        if finder is me:
            continue
        find_spec = getattr(finder, "find_spec", None)
        spec: ModuleSpec | None = find_spec(name, path, target) if find_spec is not None else None
        if spec is not None:
            return spec
    return None


def _report(text: str) -> None:
    from stepaudio_cas.activation.session import say  # noqa: PLC0415 - only when there is need

    say(text)
