"""A host that is loaded under one tuning, and asked with the same noise as under any other.

Nothing is kept: each cached method is run, timed, and its result taken down.
"""

from __future__ import annotations

import os
import random
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from stepaudio_cas.activation.loading import load_asks, methods_of, said
from stepaudio_cas.measure.agreement import Stream, streams
from stepaudio_cas.runtime.cache import Cache
from stepaudio_cas.runtime.opening import build_kind
from stepaudio_cas.settings import PREFIX, Level, Settings
from stepaudio_cas.tuning.effects import Outcome, effects

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from stepaudio_cas.activation.loading import HostSpec
    from stepaudio_cas.activation.plugin import Method
    from stepaudio_cas.errors import Bypass
    from stepaudio_cas.identity.recipe import Recipe

_NOWHERE: Final = Settings(stores=("memory://",), memory=0, log=Level.ERROR)


class Run(NamedTuple):
    """Ask for all recordings once. Runs of one number have the same noise, in any process."""

    number: int


class Measured(NamedTuple):
    """What came of a run: seconds of encoding, and the streams of each recording.

    `trouble` is what the host said instead. `passed` are calls that could not be described.
    """

    seconds: float
    results: tuple[tuple[Stream, ...], ...]
    outcomes: tuple[Outcome, ...]
    trouble: str = ""
    passed: tuple[str, ...] = ()


class Listening(Cache):
    """Takes down what cached methods return; keeps nothing and looks nothing up."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.quick = False
        self.forms: Mapping[str, Method] = {}
        self.seconds = 0.0
        self.heard: list[Stream] = []
        self.passed: list[str] = []
        self._inside = False

    def start(self) -> None:
        """Begin with a recording."""
        self.seconds, self.heard, self.passed, self._inside = 0.0, [], [], False

    def get_or_compute(self, recipe: Recipe, compute: Callable[[], Any], **how: Any) -> Any:
        """Compute it. What calls other methods is not timed twice, nor compared twice."""
        del recipe
        return self._listen(str(how.get("plugin", "")), compute)

    def get_many(
        self, recipes: Sequence[Recipe], compute: Callable[[list[int]], Sequence[Any]], **how: Any
    ) -> list[Any]:
        """Compute them together, as the host would."""
        name = str(how.get("plugin", ""))
        return list(self._listen(name, lambda: compute(list(range(len(recipes))))))

    def bypassed(self, bypass: Bypass, plugin: str = "") -> None:
        """Take down what is not cached, and thus not compared."""
        super().bypassed(bypass, plugin)
        self.passed.append(f"{plugin}: {bypass}")

    def _listen(self, name: str, compute: Callable[[], Any]) -> Any:
        outer, self._inside = self._inside, True
        _settle()
        started = time.perf_counter()
        try:
            value = compute()
            _settle()
        finally:
            self._inside = outer
            self.seconds += 0.0 if outer else time.perf_counter() - started
        form = self.forms.get(name)
        if form is None or not form.composed:
            short = name.rpartition("/")[0].rpartition(".")[2]
            self.heard += streams(short, value, form.names if form is not None else ())
        return value


@dataclass(frozen=True)
class Opening:
    """How a process loads the host. It is sent there; the tuning is in its environment."""

    spec: HostSpec
    recordings: tuple[str, ...]

    def __call__(self) -> Tuned:
        """Load the host into this process."""
        os.environ[PREFIX] = "memory://"
        cache = build_kind(Listening, _NOWHERE, strict=True)
        asks, plugins = load_asks(self.spec, cache)
        cache.forms = methods_of(plugins)
        return Tuned(asks, cache, self.recordings)


class Tuned:
    """A host that has been loaded, and recordings to ask it for."""

    def __init__(
        self,
        asks: Sequence[Callable[[str], object]],
        cache: Listening,
        recordings: Sequence[str],
    ) -> None:
        self._asks, self._cache, self._recordings = asks, cache, recordings

    def run(self, number: int) -> Measured:
        """Ask for all recordings once."""
        results, seconds, passed = [], 0.0, list[str]()
        for place, recording in enumerate(self._recordings):
            self._cache.start()
            _same_noise(1000 * number + place)
            try:
                for ask in self._asks:
                    ask(recording)
            except (Exception, SystemExit) as error:
                return Measured(0.0, (), self._outcomes(), f"{recording}: {said(error)}")
            results.append(tuple(self._cache.heard))
            seconds += self._cache.seconds
            passed += self._cache.passed
        return Measured(
            seconds, tuple(results), self._outcomes(), passed=tuple(dict.fromkeys(passed))
        )

    def _outcomes(self) -> tuple[Outcome, ...]:
        return tuple(effects.outcomes.values())

    def close(self) -> bool:
        """End; nothing was to be written."""
        self._cache.close()
        return True


def do(host: Tuned, item: Run) -> Measured:
    """Do a run, in the host's process."""
    return host.run(item.number)


def _same_noise(seed: int) -> None:
    """Seed what encoders take their dither from, as far as it is loaded."""
    random.seed(seed)
    numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
    if numpy is not None:
        numpy.random.seed(seed)
    if torch is not None and hasattr(torch, "manual_seed"):
        torch.manual_seed(seed)


def _settle() -> None:
    """Wait for what a GPU is still doing."""
    torch = sys.modules.get("torch")
    if torch is not None and hasattr(torch, "cuda") and torch.cuda.is_initialized():
        torch.cuda.synchronize()
