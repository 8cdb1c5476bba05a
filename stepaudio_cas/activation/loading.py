"""Loading what encodes a voice outside the host's server, so that keys are exactly the host's.

The host's own code is imported and its classes are patched as in the host itself; what is left out
is only what no voice goes through. `--host` says which host: see `parse_host`.
"""

from __future__ import annotations

import inspect
import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import unquote

from stepaudio_cas.activation.finder import install, installed
from stepaudio_cas.activation.registry import Registry
from stepaudio_cas.activation.session import use_cache
from stepaudio_cas.errors import CasError, SettingError
from stepaudio_cas.runtime.attended import Enough

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stepaudio_cas.activation.plugin import Method, Plugin
    from stepaudio_cas.runtime.attended import Asked, Attended
    from stepaudio_cas.runtime.cache import Cache
    from stepaudio_cas.store.store import Store

FORMS: Final = "PLUGIN:FOLDER?option=value&… or FOLDER/MODULE:FACTORY?option=value&…"
_ANYTHING_ELSE: Final = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)


class HostSpec(NamedTuple):
    """Which host to load: where its code is, and the function that loads it."""

    text: str
    folder: str
    module: str
    function: str
    options: dict[str, str]


class HostError(CasError):
    """The host's own code did not do what was asked of it; the text says what it said."""


class Host:
    """A host that has been loaded to encode voices, or to find their keys."""

    def __init__(self, asks: Sequence[Callable[[str], object]], cache: Attended) -> None:
        self._asks = asks
        self._cache = cache

    @property
    def stores(self) -> list[Store]:
        """Where new voices go, fastest first."""
        return [tier.store for tier in self._cache.chain.writable]

    def key(self, path: str) -> tuple[list[Asked], str]:
        """Find the keys that the host asks for when it is given this recording.

        Nothing is computed but the host's own preparation. What stopped it is said as well.
        """
        self._cache.computing = False
        return self._attend(path, "")

    def make(self, path: str, label: str) -> tuple[list[Asked], str]:
        """Have the host encode a recording, unless that is there; say what stopped it."""
        self._cache.computing = True
        return self._attend(path, label)

    def _attend(self, path: str, label: str) -> tuple[list[Asked], str]:
        cache = self._cache
        cache.label, cache.asked = label, []
        trouble = ""
        for ask in self._asks:
            try:
                ask(path)
            except Enough:
                continue
            except (Exception, SystemExit) as error:
                trouble = said(error)
                break
        if not trouble and not cache.asked:
            trouble = "nothing; it made no call that is cached: see cas-tool doctor --host FOLDER"
        return cache.asked, trouble

    def settle(self, seconds: float = 600.0) -> bool:
        """Wait for what is written in the background; return whether all of it was."""
        return self._cache.flush(seconds)

    def again(self) -> None:
        """Ask stores again that have failed."""
        for tier in self._cache.chain.tiers:
            tier.again()

    def close(self, seconds: float = 600.0) -> bool:
        """Finish what is written in the background; return whether all of it was."""
        written = self.settle(seconds)
        self._cache.close()
        return written


def parse_host(text: str, *, whole: bool = False) -> HostSpec:
    """Read what `--host` says. Raises `SettingError` that says what is allowed.

    `PLUGIN:FOLDER?…` has a plugin load the code in FOLDER; `FOLDER/MODULE:FACTORY?…` calls a
    function of your own. Either gets the options as keyword arguments. With `whole`, a plugin
    that can load all of the host does.
    """
    before, colon, rest = text.strip().partition(":")
    place, _, query = rest.partition("?")
    if not colon or not before or not place:
        raise SettingError(f"--host {text!r}: write {FORMS}{_known()}")
    options = _options(text, query)
    plugin = loaders().get(before)
    if plugin is not None:
        folder = os.path.abspath(os.path.expanduser(unquote(place)))
        if not os.path.isdir(folder):
            raise SettingError(f"--host {text!r}: {folder} is not a folder")
        module, _, function = _loader(plugin, whole=whole).partition(":")
        return HostSpec(text, folder, module, function, options)
    folder, name = os.path.split(os.path.abspath(os.path.expanduser(before)))
    name = name.removesuffix(".py")
    if not any(os.path.exists(os.path.join(folder, name + end)) for end in (".py", "/__init__.py")):
        raise SettingError(
            f"--host {text!r}: there is neither a plugin {before} that loads hosts"
            f" nor a file {os.path.join(folder, name)}.py{_known()}"
        )
    return HostSpec(text, folder, name, place, options)


def _options(text: str, query: str) -> dict[str, str]:
    options: dict[str, str] = {}
    for part in filter(None, query.split("&")):
        name, equals, value = part.partition("=")
        if not name or not equals or name in options:
            raise SettingError(f"--host {text!r}: {part!r} is not one option=value")
        options[name] = unquote(value)
    return options


def loaders() -> dict[str, Plugin]:
    """Return the plugins that load hosts."""
    return {plugin.name: plugin for plugin in Registry.discover().plugins if plugin.loader}


def _loader(plugin: Plugin, *, whole: bool) -> str:
    return (plugin.service if whole else "") or plugin.loader


def describe_loaders(*, whole: bool = False) -> str:
    """Say what each plugin takes, for a help page; with `whole`, to load all of a host."""
    parts = []
    for name, plugin in loaders().items():
        function = _function(*_loader(plugin, whole=whole).split(":"))
        takes = "&".join(
            f"{p.name}=…" if p.default is p.empty else f"[{p.name}=…]"
            for p in inspect.signature(function).parameters.values()
        )
        text = inspect.cleandoc(function.__doc__ or "").partition("\n\n")[2]
        parts.append(f"{name}:FOLDER?{takes}\n" + "".join(f"  {x}\n" for x in text.splitlines()))
    return "\n".join(parts)


def load_host(spec: HostSpec, cache: Attended) -> Host:
    """Load it into this process. Raises `SettingError` for options, `HostError` for the rest."""
    asks, plugins = load_asks(spec, cache)
    cache.forms = methods_of(plugins)
    return Host(asks, cache)


def load_asks(
    spec: HostSpec, cache: Cache
) -> tuple[Sequence[Callable[[str], object]], Sequence[Plugin]]:
    """Do the same with any cache; return what the host can be asked, and the plugins."""
    use_cache(cache)
    finder = install() or installed()
    registry = finder.discover() if finder is not None else None
    if registry is None:
        raise HostError("the plugins cannot be looked for")
    sys.path[:0] = [spec.folder]
    try:
        function = _function(spec.module, spec.function)
    except (Exception, SystemExit) as error:
        raise HostError(f"--host {spec.text}: {said(error)}") from error
    _check_options(spec, function)
    try:
        asks: Any = function(**spec.options)
    except (Exception, SystemExit) as error:
        raise HostError(f"the host cannot be loaded: {said(error)}") from error
    asks = (asks,) if callable(asks) else tuple(asks)
    if not asks or not all(map(callable, asks)):
        raise HostError(f"{spec.module}:{spec.function} returned nothing that takes a path")
    return asks, registry.plugins


def methods_of(plugins: Sequence[Plugin]) -> dict[str, Method]:
    """Name every method that the plugins cache as the cache does."""
    return {
        f"{plugin.name}.{host.name}.{method.name}/{method.version}": method
        for plugin in plugins
        for host in plugin.classes
        for method in (*host.methods, *(one.method for one in host.held))
    }


def _function(module: str, name: str) -> Any:
    found: Any = import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return found


def _check_options(spec: HostSpec, function: Any) -> None:
    parameters = inspect.signature(function).parameters.values()
    names = [p.name for p in parameters if p.kind not in _ANYTHING_ELSE]
    lacking = [p.name for p in parameters if p.name in names and p.default is p.empty]
    lacking = [name for name in lacking if name not in spec.options]
    open_ended = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters)
    unknown = [] if open_ended else sorted(spec.options.keys() - names)
    if lacking:
        raise SettingError(f"--host {spec.text!r} lacks {', '.join(f'{n}=…' for n in lacking)}")
    if unknown:
        takes = ", ".join(names) or "none"
        raise SettingError(f"--host {spec.text!r}: no option {', '.join(unknown)}; it has {takes}")


def _known() -> str:
    names = ", ".join(sorted(loaders()))
    return f"; plugins that load hosts: {names}" if names else "; no plugin here loads hosts"


def said(error: BaseException) -> str:
    """Say an exception of a host in one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
