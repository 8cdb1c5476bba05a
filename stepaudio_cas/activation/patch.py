"""Putting cached methods into a host class, in place: whoever has the class already has them."""

from __future__ import annotations

import contextlib
import functools
import inspect
import weakref
from types import FunctionType
from typing import TYPE_CHECKING, Any, Final

from stepaudio_cas.activation.held import Holder
from stepaudio_cas.activation.method import HostMethod
from stepaudio_cas.activation.session import say, shared_cache, shared_presets
from stepaudio_cas.activation.source import HostSource

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from stepaudio_cas.activation.plugin import HostClass, Method, Plugin
    from stepaudio_cas.activation.presets import Presets
    from stepaudio_cas.runtime.cache import Cache

MARK: Final = "__stepaudio_cas__"

_refused: weakref.WeakKeyDictionary[type, set[str]] = weakref.WeakKeyDictionary()
_holding: weakref.WeakKeyDictionary[type, set[str]] = weakref.WeakKeyDictionary()


def patch_class(
    plugin: Plugin, host: HostClass, found: type, namespace: Mapping[str, Any], module: str
) -> list[str]:
    """Patch the methods of one class; return which. One that does not fit is said and left."""
    cache = shared_cache()
    if not cache.enabled:
        return []
    fitting = _fitting(plugin, host, found, module)
    holder = _holder(plugin, host, found, cache)
    if not fitting and holder is None:
        return []
    source = HostSource(found, host.helpers, namespace, module)
    made = []
    for method in fitting:
        name = f"{plugin.name}.{host.name}.{method.name}/{method.version}"
        made.append(HostMethod(cache, vars(found)[method.name], method, name, source))
    presets = shared_presets()
    if presets is not None:
        presets.know(plugin, host, made)
        _count_requests(found, host, presets)
    for cached in made:
        around = _wrap(cached) if presets is None else _wrap_watched(cached, host, presets)
        setattr(found, cached.method.name, around)
    _prepare_new(found, host, made, presets, holder)
    source.settle()
    names = [method.name for method in (*fitting, *(one.method for one in host.held))]
    stores = ", ".join(tier.store.url for tier in cache.chain.tiers)
    cache.recorder.log.info(
        f"{plugin.name}: {module}.{host.name}: {', '.join(names)} cached in {stores}"
        f" ({cache.mode.value})"
    )
    return names


def _holder(plugin: Plugin, host: HostClass, found: type, cache: Cache) -> Holder | None:
    """Return who looks after what instances hold, unless the class has one already."""
    if not host.held or host.name in _holding.setdefault(found, set()):
        return None
    _holding[found].add(host.name)
    return Holder(plugin, host, cache, misfit, say)


def _fitting(plugin: Plugin, host: HostClass, found: type, module: str) -> list[Method]:
    """Choose for each name the first method that fits; say of the others why there is none."""
    chosen: dict[str, Method] = {}
    troubles: dict[str, str] = {}
    for method in host.methods:
        name, original = method.name, vars(found).get(method.name)
        if name in chosen or hasattr(original, MARK):
            continue
        trouble = misfit(method, original)
        if trouble:
            troubles.setdefault(name, trouble)
        else:
            chosen[name] = method
    said = _refused.setdefault(found, set())
    for name, trouble in troubles.items():
        line = f"{name} is left alone: {trouble}"
        if name not in chosen and line not in said:  # other modules have the same class
            said.add(line)
            say(f"{plugin.name}: {module}.{host.name}.{line}")
    return list(chosen.values())


def misfit(method: Method, original: Any) -> str:
    """Say why a method of a host is not the one that the plugin knows; empty if it is."""
    trouble = misfit_of_kind(original)
    if trouble:
        return trouble
    has = list(inspect.signature(original).parameters)[1:]
    knows = list(method.arguments)
    if has != knows:
        return f"its parameters are ({', '.join(has)}), this plugin knows ({', '.join(knows)})"
    return ""


def misfit_of_kind(original: Any) -> str:
    """Say why something is no plain method that returns its result; empty if it is."""
    if original is None:
        return "there is no such method"
    if not inspect.isfunction(original):
        return f"it is a {type(original).__name__}, not a plain method"
    if (
        inspect.iscoroutinefunction(original)
        or inspect.isgeneratorfunction(original)
        or inspect.isasyncgenfunction(original)
    ):
        return "it does not return its result when called"
    return ""


def _wrap(method: HostMethod) -> Callable[..., Any]:
    """Make a plain function of it, so that it binds, pickles and shows like the original."""

    @functools.wraps(method.original)
    def cached(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        return method(self, *args, **kwargs)

    setattr(cached, MARK, method)
    return cached


def _wrap_watched(method: HostMethod, host: HostClass, presets: Presets) -> Callable[..., Any]:
    """Do the same where preset voices are encoded when no request is running."""

    @functools.wraps(method.original)
    def cached(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        return presets.call(host, method, (self, *args), kwargs)

    setattr(cached, MARK, method)
    return cached


def _count_requests(found: type, host: HostClass, presets: Presets) -> None:
    for name in host.requests:
        original: Any = vars(found).get(name)
        if not misfit_of_kind(original):
            setattr(found, name, _within_request(original, presets))


def _within_request(original: Callable[..., Any], presets: Presets) -> Callable[..., Any]:
    @functools.wraps(original)
    def serve(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        with presets.request():
            return original(self, *args, **kwargs)

    return serve


def _prepare_new(
    found: type,
    host: HostClass,
    methods: Sequence[HostMethod],
    presets: Presets | None,
    holder: Holder | None,
) -> None:
    """Have the models of new instances described when they have just been loaded."""
    original = vars(found).get("__init__")
    if not isinstance(original, FunctionType):
        return

    @functools.wraps(original)
    def construct(self: Any, /, *args: Any, **kwargs: Any) -> None:
        with presets.request() if presets is not None else contextlib.nullcontext():
            original(self, *args, **kwargs)
        if holder is not None:
            holder.attach(self)
        for method in methods:
            method.prepare(self)
        if presets is not None:
            presets.born(host, self)

    found.__init__ = construct  # type: ignore[misc]
