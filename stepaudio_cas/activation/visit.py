"""One voice on its way through a live host: which cached calls are made for it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from stepaudio_cas.artifact import codec
from stepaudio_cas.errors import Bypass
from stepaudio_cas.runtime.attended import ASKED, BYPASSED, NEW, THERE, Asked, Enough
from stepaudio_cas.store import layout

if TYPE_CHECKING:
    from stepaudio_cas.activation.method import HostMethod
    from stepaudio_cas.activation.plugin import Method
    from stepaudio_cas.identity.recipe import Recipe
    from stepaudio_cas.runtime.cache import Cache


class Visit:
    """Takes down the calls in `asked`, and does them.

    With `computing` off, no method of the model is run: what a method returns that only calls
    others is put together again from what is kept, so that it is seen which ones it calls. A live
    host is never given anything but real results; where one is not kept, that is the end.
    """

    def __init__(self, cache: Cache, label: str, *, computing: bool = True) -> None:
        self._cache, self._label, self._computing = cache, label, computing
        self.asked: list[Asked] = []

    def call(self, method: HostMethod, args: Any, kwargs: Any) -> Any:
        """Look it up, or compute it. What would be passed through is not computed for nobody."""
        asked, at = self.asked, len(self.asked)
        asked.append(Asked(method.name, None, BYPASSED))
        try:
            recipe = method.recipe(*args, **kwargs)
        except Bypass as bypass:
            self._cache.bypassed(bypass, method.name)
            asked[at] = Asked(method.name, None, BYPASSED, str(bypass))
            raise Enough from None
        composed = method.method.composed
        if not self._computing:
            asked[at] = Asked(method.name, recipe, ASKED, composed=composed)
            if composed:
                return method.original(*args, **kwargs)
            if self._cache.peek(recipe.key) is None:
                raise Enough
        self._forget(recipe)
        ran = False

        def compute() -> Any:
            nonlocal ran
            if not self._computing:  # it has gone this very moment
                raise Enough
            ran = True
            return method.original(*args, **kwargs)

        value = method.keep_under(self._label, recipe, compute, args, kwargs)
        asked[at] = Asked(method.name, recipe, NEW if ran else THERE, composed=composed)
        why = _why_not(method.method, value) if ran else ""
        if why:
            asked.append(Asked(method.name, None, BYPASSED, why))
        return value

    def _forget(self, recipe: Recipe) -> None:
        """Have memory not answer for a store that has lost an entry: it would never be kept."""
        chain = self._cache.chain
        if chain.memory.get(recipe.key) is None:
            return
        for tier in chain.writable[:1]:
            with contextlib.suppress(Exception):  # it is away: that is found out elsewhere
                if tier.store.backend.stat(layout.manifest_path(recipe.key)) is None:
                    chain.memory.drop(recipe.key)


def _why_not(method: Method, value: Any) -> str:
    """Say why nothing is kept of a result, if that is no store's doing."""
    try:
        if method.keep is not None and not method.keep(value):
            return "the result is not one to keep"
        codec.encode(value if method.pack is None else method.pack(value), any_device=True)
    except Exception as error:
        return str(error)
    return ""
