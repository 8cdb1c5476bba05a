"""Methods of what an instance holds: of a session that its host calls directly."""

from __future__ import annotations

import functools
from types import MethodType
from typing import TYPE_CHECKING, Any

from stepaudio_cas.activation.method import HostMethod
from stepaudio_cas.activation.source import HostSource
from stepaudio_cas.runtime.interrupts import reraise_interrupt

if TYPE_CHECKING:
    from collections.abc import Callable

    from stepaudio_cas.activation.plugin import HostClass, Method, Plugin
    from stepaudio_cas.runtime.cache import Cache


class Holder:
    """Puts cached methods on what new instances of a host class hold.

    Only that one object has them, so that others of its class, which is a library's, are as ever.
    """

    def __init__(
        self,
        plugin: Plugin,
        host: HostClass,
        cache: Cache,
        misfit: Callable[[Method, Any], str],
        say: Callable[[str], None],
    ) -> None:
        self._prefix = f"{plugin.name}.{host.name}"
        self._held, self._cache, self._misfit, self._say = host.held, cache, misfit, say
        self._said: set[str] = set()

    def attach(self, instance: Any) -> None:
        """Look at an instance that has just been made. What does not fit is left, and said once."""
        for one in self._held:
            try:
                thing = one.find(instance)
                if thing is not None:
                    self._put(thing, one.method)
            except Exception as error:  # the instance is the host's, and is made
                reraise_interrupt(error)
                self._refuse(one.method, f"{type(error).__name__}: {error}")

    def _put(self, thing: Any, method: Method) -> None:
        if method.name in vars(thing):
            return
        kind = type(thing)
        original = getattr(kind, method.name, None)
        trouble = self._misfit(method, original)
        if trouble or original is None:
            self._refuse(method, trouble)
            return
        source = HostSource(kind, (), {}, kind.__module__)
        name = f"{self._prefix}.{method.name}/{method.version}"
        cached = HostMethod(self._cache, original, method, name, source)

        @functools.wraps(original)
        def call(self: Any, /, *args: Any, **kwargs: Any) -> Any:
            return cached(self, *args, **kwargs)

        setattr(thing, method.name, MethodType(call, thing))
        cached.prepare(thing)

    def _refuse(self, method: Method, trouble: str) -> None:
        if trouble not in self._said:
            self._said.add(trouble)
            self._say(f"{self._prefix}: {method.name} is left alone: {trouble}")
