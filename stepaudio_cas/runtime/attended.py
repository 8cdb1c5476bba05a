"""A cache that takes down which calls a host makes, or finds their keys without computing."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from stepaudio_cas.runtime.cache import Cache

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from stepaudio_cas.errors import Bypass
    from stepaudio_cas.identity.recipe import Recipe
    from stepaudio_cas.store.counters import Subject

NEW: Final = "new"
THERE: Final = "there"
ASKED: Final = "asked"
BYPASSED: Final = "bypassed"


class Form(Protocol):
    """What is known of a method: how many values it returns, and whether it only calls others."""

    @property
    def results(self) -> int: ...
    @property
    def composed(self) -> bool: ...


class Asked(NamedTuple):
    """One cached call that the host has made: its method, and what the store had to say.

    `state` is `new` (computed now), `there`, `asked` (its key was found, nothing more) or
    `bypassed`; then there is no recipe, and `why` says what the reason is. `within` is the method
    that makes this call if it is not there itself; `composed` says that this is such a method.
    """

    method: str
    recipe: Recipe | None
    state: str
    why: str = ""
    within: str = ""
    composed: bool = False


class Enough(BaseException):
    """All is known that can be without computing; passes any `except Exception` of a host."""


class Attended(Cache):
    """Serves one host in one thread. While `computing` is off, no method of the model is run."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.quick = False
        self.computing = True
        self.label = ""
        self.asked: list[Asked] = []
        self._within = ""
        self.forms: Mapping[str, Form] = {}

    def get_or_compute(self, recipe: Recipe, compute: Callable[[], Any], **how: Any) -> Any:
        """Do what every cache does, and take it down."""
        method, at = str(how.get("plugin", "")), len(self.asked)
        self.asked.append(Asked(method, recipe, ASKED, within=self._within))
        if not self.computing:
            return self._rehearse(method, compute)
        ran = False

        def computed() -> Any:
            nonlocal ran
            ran = True
            return compute()

        value = super().get_or_compute(recipe, computed, **{**how, "label": self.label})
        form = self.forms.get(method)
        composed = form is not None and form.composed
        self.asked[at] = Asked(method, recipe, NEW if ran else THERE, composed=composed)
        return value

    def get_many(
        self, recipes: Sequence[Recipe], compute: Callable[[list[int]], Sequence[Any]], **how: Any
    ) -> list[Any]:
        """Do it one by one: whoever attends wants to know of each."""

        def one(at: int) -> Any:
            return compute([at])[0]

        return [
            self.get_or_compute(recipe, partial(one, at), **how)
            for at, recipe in enumerate(recipes)
        ]

    def _rehearse(self, method: str, compute: Callable[[], Any]) -> Any:
        """Return something for a result; a method that only calls others may do so."""
        known = self.forms.get(method)
        if known is None:
            raise Enough
        if known.composed:
            outer, self._within = self._within, method
            try:
                return compute()
            finally:
                self._within = outer
        return Anything() if known.results == 1 else (Anything(),) * known.results

    def bypassed(self, bypass: Bypass, plugin: str = "") -> None:
        """Count it, and take it down: a call that is bypassed is one that nothing is kept of."""
        super().bypassed(bypass, plugin)
        self.asked.append(Asked(plugin, None, BYPASSED, str(bypass), self._within))
        if not self.computing:
            raise Enough

    def internal(self, error: Exception, subject: Subject) -> None:
        """Take down why nothing is kept of a call, too, if that is no store's doing."""
        super().internal(error, subject)
        why = f"{type(error).__name__}: {error}"
        self.asked.append(Asked(subject.plugin, None, BYPASSED, why, self._within))


class Anything:
    """Stands for a result that nobody has computed; whatever is done with it has no effect."""

    def __getattr__(self, name: str) -> Anything:
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __call__(self, *_: Any, **__: Any) -> Anything:
        return self

    def __getitem__(self, index: Any) -> Anything:
        return self

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def __len__(self) -> int:
        return 0
