"""One daemon thread per cache: saves counters and uses, keeps the local store in its bounds."""

from __future__ import annotations

import atexit
import contextlib
import sys
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any, Final

from stepaudio_cas._fork import survive_fork
from stepaudio_cas.runtime.tracing import trace
from stepaudio_cas.runtime.uses import Uses
from stepaudio_cas.store.counters import Subject

if TYPE_CHECKING:
    from stepaudio_cas.runtime.background import Background
    from stepaudio_cas.runtime.chain import Chain
    from stepaudio_cas.runtime.keeper import Keeper
    from stepaudio_cas.runtime.prefetch import Prefetch
    from stepaudio_cas.runtime.recorder import Recorder
    from stepaudio_cas.runtime.tier import Tier

SAVE_EVERY: Final = 5.0
KEEP_EVERY: Final = 600.0
PROBE_EVERY: Final = 600.0
EXIT_SECONDS: Final = 5.0
LARGEST_SKEW: Final = 5.0
_DUTY: Final = 4.0
"""After a step of keeping, rest this many times as long as the step took."""


class Housekeeping:
    """Starts with the first call that is cached, and again in a forked child that makes one."""

    def __init__(
        self,
        chain: Chain,
        background: Background,
        recorder: Recorder,
        keeper: Keeper | None,
        prefetch: Prefetch | None = None,
    ) -> None:
        self._chain = chain
        self._background = background
        self._recorder = recorder
        self._keeper = keeper
        self._prefetch = prefetch
        self.uses = Uses(chain.writable)
        self.started = False
        self._after_fork()
        survive_fork(self)

    def _after_fork(self) -> None:
        self._starting = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.started = False

    def start(self) -> None:
        """Have the thread running."""
        if self.started:
            return
        with self._starting:
            if self.started:
                return
            self.started = True
            thread = threading.Thread(target=self._run, name="stepaudio-cas keeping", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # the interpreter is going down
                return
            self._thread = thread
            _at_exit(self)
            if self._prefetch is not None:
                self._start_prefetch(self._prefetch)

    def _start_prefetch(self, prefetch: Prefetch) -> None:
        def run(stop: threading.Event = self._stop) -> None:
            try:
                prefetch.run(stop)
            except Exception as error:
                self._recorder.error("prefetch", f"prefetch: {error}")

        with contextlib.suppress(RuntimeError):  # no thread to be had
            threading.Thread(target=run, name="stepaudio-cas prefetch", daemon=True).start()

    def flush(self, seconds: float = EXIT_SECONDS) -> bool:
        """Wait for background writes, save counters and uses; return whether all was written."""
        left = self._background.flush(seconds)
        self._save()
        self.uses.flush()
        return left == 0

    def close(self) -> None:
        """Flush, count what could not be written as dropped, and end the thread."""
        if self._stop.is_set():
            return
        left = self._background.flush(EXIT_SECONDS)
        if left:
            self._recorder.count(Subject(), {"dropped": left})
            self._recorder.log.error(f"{left} writes to stores were given up at exit")
        self._stop.set()
        self._save()
        self.uses.flush()
        if self._thread is not None:
            self._thread.join(1.0)  # it may be in the middle of a probe, whose traces it removes

    def _save(self) -> None:
        """Save the counters to the first store that may be written."""
        tier = next(iter(self._chain.writable), None)
        if tier is not None:
            backend = tier.store.backend
            tier.run(lambda: self._recorder.save(backend))

    def _run(self) -> None:
        unknown = list(self._chain.writable)
        for tier in unknown:
            tier.examine(SAVE_EVERY)  # some thirty verbs: a slow store goes on by itself
        unknown = self._judge(unknown)
        tracing = trace(self._recorder)
        keep_at = time.monotonic() + SAVE_EVERY
        probe_at = time.monotonic() + PROBE_EVERY
        while not self._stop.wait(SAVE_EVERY):
            self._save()
            tracing = tracing or trace(self._recorder)
            unknown = self._judge(unknown)
            if unknown and time.monotonic() >= probe_at:
                unknown[0].examine(SAVE_EVERY)
                probe_at = time.monotonic() + PROBE_EVERY
            if self.uses.due():
                self.uses.flush()
            if self._keeper is not None and time.monotonic() >= keep_at:
                self._keep(self._keeper)
                keep_at = time.monotonic() + KEEP_EVERY

    def _judge(self, tiers: list[Tier]) -> list[Tier]:
        """Say what an operator should know of what stores really do; return those not known yet."""
        unknown = []
        for tier in tiers:
            found = tier.store.known_capabilities
            if found is None:
                unknown.append(tier)
                continue
            if found.create != "atomic":
                self._recorder.log.error(
                    f"{tier.name}: {tier.store.url} does not create exclusively ({found.create});"
                    " two machines that encode one voice at the same moment may keep two results"
                )
            if abs(found.clock_skew) > LARGEST_SKEW:
                self._recorder.log.error(
                    f"{tier.name}: the clock of {tier.store.url} is off by"
                    f" {found.clock_skew:+.0f} s; entries may seem older or newer than they are"
                )
        return unknown

    def _keep(self, keeper: Keeper) -> None:
        """Do one pass, resting between its steps, and saving counters when they are due."""
        save_at = time.monotonic() + SAVE_EVERY
        started = time.monotonic()
        with contextlib.closing(keeper.steps()) as steps:
            try:
                for _ in steps:
                    if self._stop.wait((time.monotonic() - started) * _DUTY):
                        return
                    if time.monotonic() >= save_at:
                        self._save()
                        save_at = time.monotonic() + SAVE_EVERY
                    started = time.monotonic()
            except Exception as error:
                self._recorder.error("keeping", f"keeping the store in its bounds failed: {error}")


def _at_exit(keeping: Housekeeping) -> None:
    """Have it closed when the process ends, also as a child of multiprocessing."""
    reference = weakref.ref(keeping)

    def close() -> None:
        alive = reference()
        if alive is not None:
            alive.close()

    atexit.register(close)
    util: Any = sys.modules.get("multiprocessing.util")
    if util is not None:
        util.Finalize(None, close, exitpriority=10)
