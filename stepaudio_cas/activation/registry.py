"""The plugins that are installed, by what they wait for."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from types import ModuleType
    from typing import Any

    from stepaudio_cas.activation.plugin import HostClass, Plugin
    from stepaudio_cas.activation.tuning import Tuners

GROUP = "stepaudio_cas.plugins"


class Registry:
    """Plugins, and which module and class names concern them."""

    def __init__(
        self,
        plugins: Iterable[Plugin],
        troubles: Iterable[str] = (),
        tuners: Tuners | None = None,
        panel: ModuleType | None = None,
    ) -> None:
        self.plugins = list(plugins)
        self.troubles = list(troubles)
        self._tuners, self._panel = tuners, panel
        self._classes = [(plugin, host) for plugin in self.plugins for host in plugin.classes]
        self.tails = frozenset(tail for _, host in self._classes for tail in host.modules)
        if tuners is not None:
            self.tails |= tuners.tails
        if panel is not None:
            self.tails |= panel.TAILS
        self.class_names = frozenset(host.name for _, host in self._classes)

    @classmethod
    def discover(cls) -> Registry:
        """Load the plugins that entry points name; note which one fails, and go on."""
        allowed = _allowed()
        plugins: list[Plugin] = []
        troubles: list[str] = []
        installed = entry_points(troubles)
        for name in sorted((allowed or set()) - installed.keys()):
            there = ", ".join(sorted(installed)) or "none"
            troubles.append(
                f"STEPAUDIO_CAS_PLUGINS names {name}, which is not installed; there is: {there}"
            )
        for name, reference in sorted(installed.items()):
            if allowed is not None and name not in allowed:
                continue
            try:
                plugins.append(load(reference))
            except (Exception, SystemExit) as error:  # a plugin does not end the host either
                trouble = f"{type(error).__name__}: {error}"
                troubles.append(f"plugin {name} ({reference}) is skipped: {trouble}")
        return cls(plugins, troubles, _tuners(troubles), _panel(troubles))

    def report(self) -> None:
        """Say what was wrong with the plugins."""
        for trouble in self.troubles:
            _say(trouble)

    def apply(self, namespace: Mapping[str, Any], module: str) -> bool:
        """Patch the host classes in a module; return whether there was one."""
        there = False
        if self._tuners is not None:
            self._tuners.apply(namespace, module)
        if self._panel is not None:
            self._panel.apply(namespace, module)
        for plugin, host in self._classes:
            found = namespace.get(host.name)
            if not isinstance(found, type) or not is_host(found, host):
                continue
            there = True
            try:
                from stepaudio_cas.activation.patch import patch_class  # noqa: PLC0415 - heavy

                patch_class(plugin, host, found, namespace, module)
            except Exception as error:  # the plugins after this one have their turn all the same
                trouble = f"{type(error).__name__}: {error}"
                _say(f"{plugin.name}: {module}.{host.name} is left as it is: {trouble}")
        return there


def is_host(found: type, host: HostClass) -> bool:
    """Tell a class by what it owns itself, so that no other one of its name is touched."""
    own = vars(found)
    return all(name in own for name in host.owns) and own.keys().isdisjoint(host.lacks)


def load(reference: str) -> Plugin:
    """Import what an entry point refers to, and see that it is a plugin."""
    found = resolve(reference)
    from stepaudio_cas.activation.plugin import Plugin, check  # noqa: PLC0415 - imports `typing`

    if not isinstance(found, Plugin):
        raise TypeError(f"it is a {type(found).__name__}, not a Plugin")
    check(found)
    return found


def resolve(reference: str) -> Any:
    """Import what an entry point refers to."""
    module, _, attribute = reference.partition(":")
    __import__(module)
    found: Any = sys.modules[module]
    for part in attribute.split("."):
        found = getattr(found, part)
    return found


def entry_points(troubles: list[str] | None = None, group: str = GROUP) -> dict[str, str]:
    """Find the entry points of a group of ours in all installed distributions.

    `importlib.metadata` does the same in ten times the time, which every process of the host
    would pay at its start.
    """
    found: dict[str, str] = {}
    for folder in dict.fromkeys(sys.path):
        for text in _entry_point_files(folder or ".", group):
            for name, reference in _group_of(text, group):
                if found.setdefault(name, reference) != reference and troubles is not None:
                    troubles.append(
                        f"plugin {name} ({reference}) is skipped: {found[name]} has the same name"
                    )
    return found


def _entry_point_files(folder: str, group: str) -> Iterator[str]:
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return
    for name in names:
        if name.endswith((".dist-info", ".egg-info")):
            try:
                with open(f"{folder}/{name}/entry_points.txt", encoding="utf-8") as file:
                    text = file.read()
            except (OSError, UnicodeError):
                continue
            if group in text:
                yield text


def _group_of(text: str, group: str) -> Iterator[tuple[str, str]]:
    section = ""
    for line in text.splitlines():
        line = line.strip()  # noqa: PLW2901
        if line.startswith("["):
            section = line.strip("[]").strip()
        elif section == group and "=" in line and not line.startswith(("#", ";")):
            name, _, reference = line.partition("=")
            yield name.strip(), reference.partition("[")[0].strip()


def _tuners(troubles: list[str]) -> Tuners | None:
    if not (os.environ.get("STEPAUDIO_CAS_TUNE") or os.environ.get("STEPAUDIO_CAS_CONFIG")):
        return None
    try:
        from stepaudio_cas.activation.tuning import discover  # noqa: PLC0415 - only where asked

        return discover(troubles)
    except Exception as error:  # plugins have their turn all the same
        troubles.append(f"nothing is tuned: {type(error).__name__}: {error}")
        return None


def _panel(troubles: list[str]) -> ModuleType | None:
    if not (os.environ.get("STEPAUDIO_CAS_PANEL") or os.environ.get("STEPAUDIO_CAS_CONFIG")):
        return None
    try:
        from stepaudio_cas.activation import panel  # noqa: PLC0415 - only where asked

        return panel if panel.wanted() else None
    except Exception as error:
        troubles.append(f"there is no panel: {type(error).__name__}: {error}")
        return None


def _allowed() -> set[str] | None:
    if os.environ.get("STEPAUDIO_CAS_CONFIG"):
        from stepaudio_cas.settings import read_settings  # noqa: PLC0415 - rarely needed so early

        return set(read_settings()[0].plugins or ()) or None
    text = os.environ.get("STEPAUDIO_CAS_PLUGINS", "")
    return {name.strip() for name in text.split(",")} - {""} or None


def _say(text: str) -> None:
    from stepaudio_cas.activation.session import say  # noqa: PLC0415 - only when there is need

    say(text)
