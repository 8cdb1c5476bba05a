"""The plugins that are installed, by what they wait for."""

from __future__ import annotations

import importlib
import os
import sys
from typing import TYPE_CHECKING, Any

from stepaudio_cas.activation.plugin import GROUP, HostClass, Plugin

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping


class Registry:
    """Plugins, and which module and class names concern them."""

    def __init__(self, plugins: Iterable[Plugin]) -> None:
        self.plugins = list(plugins)
        classes = [(plugin, host) for plugin in self.plugins for host in plugin.classes]
        self.tails = {tail for _, host in classes for tail in host.modules}
        self.class_names = {host.name for _, host in classes}
        self._classes = classes

    @classmethod
    def discover(cls) -> Registry:
        """Load the plugins that entry points name; say which one fails, and go on."""
        allowed = _allowed()
        plugins = []
        for name, reference in sorted(entry_points().items()):
            if allowed is not None and name not in allowed:
                continue
            try:
                plugins.append(load(reference))
            except Exception as error:
                from stepaudio_cas.activation.session import say  # noqa: PLC0415

                say(f"plugin {name} ({reference}) is skipped: {type(error).__name__}: {error}")
        return cls(plugins)

    def apply(self, namespace: Mapping[str, Any], module: str) -> int:
        """Patch the host classes in a module; return how many methods were patched."""
        patched = 0
        for plugin, host in self._classes:
            found = namespace.get(host.name)
            if isinstance(found, type) and is_host(found, host):
                from stepaudio_cas.activation.patch import patch_class  # noqa: PLC0415 - heavy

                patched += patch_class(plugin, host, found, namespace, module)
        return patched


def is_host(found: type, host: HostClass) -> bool:
    """Tell a class by what it owns itself, so that no other one of its name is touched."""
    return all(name in vars(found) for name in host.owns)


def load(reference: str) -> Plugin:
    """Import what an entry point refers to."""
    module, _, attribute = reference.partition(":")
    found: Any = importlib.import_module(module)
    for part in attribute.split("."):
        found = getattr(found, part)
    if not isinstance(found, Plugin):
        raise TypeError(f"{reference} is a {type(found).__name__}, not a Plugin")
    return found


def entry_points() -> dict[str, str]:
    """Find the entry points of our group in all installed distributions.

    `importlib.metadata` does the same in ten times the time, which every process of the host
    would pay at its start.
    """
    found: dict[str, str] = {}
    for folder in sys.path:
        for text in _entry_point_files(folder or "."):
            for name, reference in _group_of(text):
                found.setdefault(name, reference)
    return found


def _entry_point_files(folder: str) -> Iterator[str]:
    try:
        names = os.listdir(folder)
    except OSError:
        return
    for name in names:
        if name.endswith((".dist-info", ".egg-info")):
            try:
                with open(f"{folder}/{name}/entry_points.txt", encoding="utf-8") as file:
                    text = file.read()
            except (OSError, UnicodeError):
                continue
            if GROUP in text:
                yield text


def _group_of(text: str) -> Iterator[tuple[str, str]]:
    section = ""
    for line in text.splitlines():
        line = line.strip()  # noqa: PLW2901
        if line.startswith("["):
            section = line.strip("[]").strip()
        elif section == GROUP and "=" in line and not line.startswith(("#", ";")):
            name, _, reference = line.partition("=")
            yield name.strip(), reference.partition("[")[0].strip()


def _allowed() -> set[str] | None:
    text = os.environ.get("STEPAUDIO_CAS_PLUGINS", "")
    names = {name.strip() for name in text.split(",")} - {""}
    return names or None
