"""A finder on `sys.meta_path` that finds nothing, but sees what is found.

When a module is about to be loaded whose name could be that of a host, its loader is made to tell
us when the module is there. What the module sees of itself (loader, spec, file) stays what it is,
so that `inspect`, `importlib.resources` and reloading work as ever.
"""

from __future__ import annotations

import os
import sys
from _thread import _local, allocate_lock

from stepaudio_cas.activation.boot import say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any

    from stepaudio_cas.activation.registry import Registry

_frozen: Any = sys.modules["_frozen_importlib_external"]  # as importlib.machinery has them
_OF_ONE_MODULE = {
    *(_frozen.SourceFileLoader, _frozen.SourcelessFileLoader, _frozen.ExtensionFileLoader)
}

_UNCONCERNED = sys.stdlib_module_names | {
    *("sitecustomize", "usercustomize", "stepaudio_cas", "stepaudio_cas_plugins")
}
"""Packages that neither are a host nor a sign that one is coming."""


class Finder:
    """Tells the plugins of host modules as they are loaded.

    The plugins are looked for when the first module that is not Python's own has been loaded:
    until then nothing of theirs can be needed, and in many processes it never is. That is never
    done in `find_spec`, and nothing is imported there: the import lock is held, and a thread that
    has the lock of a module which is needed may be waiting for it.
    """

    def __init__(self) -> None:
        self.registry: Registry | None = None
        self._tails: frozenset[str] | None = None
        self._busy = _local()
        self._looking = allocate_lock()
        self._main_classes: set[str] = set()
        self.awaited: dict[str, Callable[[ModuleSpec], None]] = {}

    def _after_fork(self) -> None:
        self._looking = allocate_lock()  # the thread that held it is not in the child

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Find nothing of our own: have the others find it, and look at what they found."""
        tails = self._tails
        if tails is not None and name.rpartition(".")[2] not in tails and name not in self.awaited:
            return None  # the way of nearly every import
        if name.partition(".")[0] in _UNCONCERNED or getattr(self._busy, "flag", False):
            return None
        self._busy.flag = True
        try:
            spec = _find_elsewhere(self, name, path, target)
            if spec is not None and name in self.awaited:
                self.awaited[name](spec)
            if spec is not None and (tails is None or name.rpartition(".")[2] in tails):
                self._watch(spec)
        except Exception as error:  # an import of the host never fails because of us
            say(f"looking at the import of {name} failed: {type(error).__name__}: {error}")
            return None
        else:
            return spec
        finally:
            self._busy.flag = False

    def discover(self) -> Registry | None:
        """Look for the plugins, once, and for host classes that are there already.

        While another thread does it, this one is not kept waiting and gets None: it may hold the
        lock of a module which a plugin is about to import.
        """
        looking = self._looking
        if self.registry is not None or not looking.acquire(blocking=False):
            return self.registry
        try:
            if self._tails is None:
                from stepaudio_cas.activation.registry import Registry  # noqa: PLC0415 - not at start

                made = Registry.discover()
                self._tails, self.registry = made.tails, made
                made.report()
                self._look_back()
        except Exception as error:
            self._tails = self._tails or frozenset()
            say(f"plugins cannot be looked for: {type(error).__name__}: {error}")
        finally:
            looking.release()
        return self.registry

    def _look_back(self) -> None:
        wanted = {"__main__", "__mp_main__", *(self._tails or ())}
        for name, module in list(sys.modules.items()):
            if name.rpartition(".")[2] not in wanted or module is None:
                continue
            if type(module).__name__ == "_LazyModule":
                self._watch(object.__getattribute__(module, "__spec__"))
            else:
                self.loaded(module)
        self._expect_main()

    def expect(self, names: Iterable[str]) -> None:
        """Be told names of classes that the script itself is going to define."""
        self._main_classes.update(names)
        if self._tails is not None:
            self._expect_main()

    def _expect_main(self) -> None:
        names = self._main_classes & self.registry.class_names if self.registry else None
        if names:
            from stepaudio_cas.activation.main_module import watch_classes  # noqa: PLC0415

            watch_classes(self, names)

    def _watch(self, spec: ModuleSpec) -> None:
        loader: Any = spec.loader
        if type(loader).__name__ == "LazyLoader" and hasattr(loader, "loader"):
            loader.loader = self._watched(spec.name, loader.loader)
        elif loader is not None:  # that of a namespace package is None
            spec.loader = self._watched(spec.name, loader)

    def _watched(self, name: str, loader: Any) -> Any:
        """Have a loader tell us of modules: in place, where it is that of one module alone."""
        execute = getattr(loader, "exec_module", None)
        if execute is None:
            if self._tails is not None:
                say(f"{name} is loaded by a {type(loader).__name__}, which cannot be watched")
            return loader
        if type(loader) not in _OF_ONE_MODULE:
            return _Watched(loader, self.loaded)

        def exec_module(module: ModuleType) -> None:
            execute(module)
            self.loaded(module)

        loader.exec_module = exec_module
        return loader

    def loaded(self, module: ModuleType) -> None:
        """Have the plugins look at a module that is complete.

        If another thread is looking for them, that will end with a look at all modules.
        """
        try:
            registry = self.discover()
            if registry is not None:
                registry.apply(vars(module), module.__name__)
        except Exception as error:
            say(f"a module is left as it is: {type(error).__name__}: {error}")


class _Watched:
    """Stands for a loader that others share, until the module is about to be executed."""

    def __init__(self, loader: Any, loaded: Callable[[ModuleType], None]) -> None:
        self._loader = loader
        self._loaded = loaded

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        create = getattr(self._loader, "create_module", None)
        made: ModuleType | None = create(spec) if create is not None else None
        return made

    def exec_module(self, module: ModuleType) -> None:
        names: Any = vars(module)
        if names.get("__loader__") is self:
            names["__loader__"] = self._loader
        if getattr(names.get("__spec__"), "loader", None) is self:
            names["__spec__"].loader = self._loader
        self._loader.exec_module(module)
        self._loaded(module)

    def __getattr__(self, name: str) -> Any:
        if name == "_loader":  # while being copied
            raise AttributeError(name)
        return getattr(self._loader, name)


def install() -> Finder | None:
    """Put a finder in front; None if there is one already."""
    if any(_is_ours(finder) for finder in sys.meta_path):
        return None
    finder = Finder()
    sys.meta_path.insert(0, finder)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=finder._after_fork)  # noqa: SLF001 - of this module
    return finder


def installed() -> Finder | None:
    """Return the finder of this process."""
    return next((f for f in sys.meta_path if isinstance(f, Finder)), None)


def _is_ours(finder: object) -> bool:
    """Tell by name: this module may have been thrown out of `sys.modules` and loaded anew."""
    return (type(finder).__module__, type(finder).__qualname__) == (__name__, Finder.__qualname__)


def _find_elsewhere(me: Finder, name: str, path: Any, target: Any) -> ModuleSpec | None:
    """Ask the finders after us. What one of them raises, it raises again when it is its turn."""
    finders = list(sys.meta_path)
    for finder in finders[finders.index(me) + 1 :] if me in finders else ():
        find_spec = getattr(finder, "find_spec", None)
        try:
            spec = find_spec(name, path, target) if find_spec is not None else None
        except Exception:
            return None
        if spec is not None:
            found: ModuleSpec = spec
            return found
    return None
