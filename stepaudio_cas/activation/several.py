"""A call on several items: what is there is taken, and the host computes the rest."""

from __future__ import annotations

from inspect import BoundArguments
from typing import TYPE_CHECKING, Any

from stepaudio_cas.errors import Bypass
from stepaudio_cas.runtime.call import LEFT_ALONE
from stepaudio_cas.runtime.interrupts import reraise_interrupt

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from stepaudio_cas.activation.method import HostMethod
    from stepaudio_cas.activation.plugin import Items
    from stepaudio_cas.identity.recipe import Recipe
    from stepaudio_cas.runtime.cache import Cache


class Several:
    """Calls of one method of a host that takes several items."""

    def __init__(self, cache: Cache, method: HostMethod, items: Items) -> None:
        self._cache, self._method, self._items = cache, method, items

    def __call__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Return what the host would, or `LEFT_ALONE` if this is a call on one item."""
        method, cache = self._method, self._cache
        prepared = None
        try:
            arguments = method.bind(args, kwargs)
            calls = self._items.split(args[0], arguments)
            if calls is None:
                return LEFT_ALONE
            prepared = _Prepared(self, args, kwargs, arguments, calls)
        except Bypass as bypass:
            reraise_interrupt(bypass)
            cache.bypassed(bypass, method.name)
        except (Exception, SystemExit) as error:
            reraise_interrupt(error)
            cache.bypassed(Bypass("failed-key", f"{type(error).__name__}: {error}"), method.name)
        if prepared is None:  # outside the handlers: the host's exceptions have no context of ours
            return method.original(*args, **kwargs)
        return prepared.run(cache, method)

    def recipes(self, calls: Sequence[Mapping[str, Any]]) -> list[Recipe]:
        """Describe the call on each item."""
        return [self._method.describe(call) for call in calls]

    def compute(
        self,
        arguments: Mapping[str, Any],
        calls: Sequence[Mapping[str, Any]],
        positions: Sequence[int],
    ) -> list[Any]:
        """Have the host compute the items at some positions."""
        some = self._items.some
        if some is None or len(positions) == 1:
            return [self._host(calls[position]) for position in positions]
        found = self._host(some(arguments, positions))
        if type(found) is not list or len(found) != len(positions):
            raise _Uneven
        return [[value] for value in found]

    def _host(self, arguments: Mapping[str, Any]) -> Any:
        bound = BoundArguments(self._method.signature, dict(arguments))
        return self._method.original(*bound.args, **bound.kwargs)


class _Uneven(Exception):  # noqa: N818 - describes what a host returned
    """There are not as many values as items."""


class _Prepared:
    """One call, taken apart."""

    def __init__(
        self,
        several: Several,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        arguments: Mapping[str, Any],
        calls: Sequence[Mapping[str, Any]],
    ) -> None:
        self._several, self._args, self._kwargs = several, args, kwargs
        self._arguments, self._calls = arguments, calls
        self._recipes = several.recipes(calls)

    def run(self, cache: Cache, method: HostMethod) -> Any:
        """Look everything up, compute what is missing, and put it together."""
        try:
            parts = cache.get_many(
                self._recipes,
                lambda at: self._several.compute(self._arguments, self._calls, at),
                plugin=method.name,
                deterministic=method.repeats,
                keep=method.method.keep,
                pack=method.method.pack,
            )
            values = [value for part in parts for value in part]
        except _Uneven:
            return self._all_again(cache, method, "it returned more or fewer values than items")
        restore = method.method.restore
        if restore is None:
            return values
        try:
            return restore(self._args[0], self._arguments, values)
        except Exception as error:
            reraise_interrupt(error)
            return self._all_again(cache, method, f"{type(error).__name__}: {error}")

    def _all_again(self, cache: Cache, method: HostMethod, why: str) -> Any:
        cache.bypassed(Bypass("unexpected-result", why), method.name)
        return method.original(*self._args, **self._kwargs)
