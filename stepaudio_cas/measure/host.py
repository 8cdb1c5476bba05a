"""A host that is measured: loaded into this process, asked with the cache and without."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stepaudio_cas.activation.loading import load_asks, said
from stepaudio_cas.errors import CasError, SettingError
from stepaudio_cas.measure.recordings import Recordings
from stepaudio_cas.measure.stopwatch import ENCODE, Stopwatch, watch, watch_cached
from stepaudio_cas.runtime.cache import Cache
from stepaudio_cas.runtime.opening import build_kind
from stepaudio_cas.settings import PREFIX, Mode, read_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from stepaudio_cas.activation.loading import HostSpec


@dataclass(frozen=True)
class Opening:
    """How a process opens a store and loads a host. It is sent there.

    `environment` is set before anything is loaded. The recordings' variants go to `folder`.
    """

    spec: HostSpec
    store: str
    recordings: tuple[str, ...]
    folder: str
    environment: tuple[tuple[str, str], ...] = ()

    def __call__(self) -> Measured:
        """Load the host into this process."""
        os.environ.update({**dict(self.environment), PREFIX: self.store})
        settings, problems = read_settings()
        for problem in problems:
            raise SettingError(str(problem))
        settings = settings.override(mode=Mode.RW, verify=0.0, log="error")
        settings = dataclasses.replace(settings, watch=())
        cache = build_kind(Cache, settings, strict=True)
        asks, plugins = load_asks(self.spec, cache)
        stages: dict[str, list[str]] = {}
        for plugin in plugins:
            for stage, methods in plugin.stages.items():
                stages.setdefault(stage, []).extend(methods)
        return Measured(asks, cache, stages, Recordings(self.recordings, self.folder))


class Measured:
    """A host that has been loaded, its cache, and recordings to ask it for."""

    def __init__(
        self,
        asks: Sequence[Callable[[str], object]],
        cache: Cache,
        stages: Mapping[str, Sequence[str]],
        recordings: Recordings,
    ) -> None:
        self._asks = asks
        self._cache = cache
        self._stages = stages
        self.recordings = recordings
        self.met: list[str] = []
        self.stopwatch = Stopwatch((ENCODE, *stages))
        watch_cached(self.stopwatch)

    def look(self) -> None:
        """Look for methods of a stage; a host may load them at its first request."""
        watch(self.stopwatch, self._stages)

    def ask(self, path: str, *, cached: bool = True) -> None:
        """Have the host do a request, with the cache or as if there were none."""
        self._cache.enabled = cached
        try:
            for ask in self._asks:
                ask(path)
        except (Exception, SystemExit) as error:
            raise CasError(f"the host says: {said(error)}") from error
        finally:
            self._cache.enabled = True

    def counts(self) -> dict[str, float]:
        """Say how many calls have been found, computed and passed through, and why."""
        counters: dict[str, Any] = self._cache.stats()["counters"]
        found: dict[str, float] = {"hits": 0, "misses": 0}
        for name, number in counters.items():
            kind, _, what = name.partition(".")
            if kind in {"hit", "miss"}:
                found["hits" if kind == "hit" else "misses"] += number
            elif kind == "bypass":
                found[f"bypass.{what}"] = number
        return found

    def close(self) -> bool:
        """Finish what is written in the background; return whether all of it was."""
        written = self._cache.flush(60.0)
        self._cache.close()
        return written
