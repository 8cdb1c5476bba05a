"""Putting cached methods into a host class, in place: whoever has the class already has them."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Final

from stepaudio_cas.activation.method import HostMethod
from stepaudio_cas.activation.session import say, shared_cache
from stepaudio_cas.errors import Bypass
from stepaudio_cas.identity.fingerprint import source_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from stepaudio_cas.activation.plugin import HostClass, Method, Plugin

MARK: Final = "__stepaudio_cas__"


def patch_class(
    plugin: Plugin, host: HostClass, found: type, namespace: Mapping[str, Any], module: str
) -> int:
    """Patch the methods of one class; return how many. One that does not fit is said and left."""
    cache = shared_cache()
    if not cache.enabled:
        return 0
    fitting: list[str] = []
    for method in host.methods:
        original = vars(found).get(method.name)
        if hasattr(original, MARK):
            continue
        trouble = misfit(method, original)
        if trouble:
            say(f"{plugin.name}: {module}.{host.name}.{method.name} is left alone: {trouble}")
            continue
        assert original is not None
        source = _source(host, found, namespace)
        name = f"{plugin.name}.{host.name}.{method.name}/{method.version}"
        setattr(found, method.name, _wrap(HostMethod(cache, original, method, name, source)))
        fitting.append(method.name)
    if fitting:
        stores = ", ".join(tier.store.url for tier in cache.chain.tiers)
        cache.recorder.log.info(
            f"{plugin.name}: {module}.{host.name}: {', '.join(fitting)} cached in {stores}"
            f" ({cache.mode.value})"
        )
    return len(fitting)


def misfit(method: Method, original: Any) -> str:
    """Say why a method of a host is not the one that the plugin knows; empty if it is."""
    if original is None:
        return "there is no such method"
    if not inspect.isfunction(original):
        return f"it is a {type(original).__name__}, not a plain method"
    has = list(inspect.signature(original).parameters)[1:]
    knows = list(method.arguments)
    if has != knows:
        return f"its parameters are ({', '.join(has)}), this plugin knows ({', '.join(knows)})"
    return ""


def _wrap(method: HostMethod) -> Callable[..., Any]:
    """Make a plain function of it, so that it binds, pickles and shows like the original."""

    def cached(self: Any, *args: Any, **kwargs: Any) -> Any:
        return method(self, *args, **kwargs)

    original = method.original
    cached.__dict__.update(vars(original))
    for name in ("__module__", "__name__", "__qualname__", "__doc__", "__annotations__"):
        setattr(cached, name, getattr(original, name))
    cached.__dict__["__wrapped__"] = original
    setattr(cached, MARK, method)
    return cached


def _source(host: HostClass, found: type, namespace: Mapping[str, Any]) -> dict[str, str]:
    """Take the text of the class, and of the functions of its module that it calls, as of now."""
    texts: dict[str, str] = {}
    for name, code in [(host.name, found), *((h, namespace.get(h)) for h in host.helpers)]:
        if code is None:
            continue
        try:
            texts[name] = source_of(code)
        except Bypass:
            texts[name] = ""  # a compiled host: its files are what tells its versions apart
    return texts
