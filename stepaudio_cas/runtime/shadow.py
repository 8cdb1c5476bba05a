"""Recomputing a share of the hits in the background, to see that they are still right."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from stepaudio_cas.artifact import codec
from stepaudio_cas.errors import Bypass
from stepaudio_cas.runtime.background import Background

if TYPE_CHECKING:
    from collections.abc import Callable

    from stepaudio_cas.artifact.fresh import Ready
    from stepaudio_cas.runtime.call import Call
    from stepaudio_cas.runtime.recorder import Recorder


class Shadow:
    """Checks `share` of the hits, one at a time; while one is being checked, others are let go."""

    def __init__(
        self,
        share: float,
        recorder: Recorder,
        *,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.share = share
        self._recorder = recorder
        self._chance = chance
        self.queue = Background(max_items=1)

    def consider(self, call: Call, ready: Ready) -> None:
        """Perhaps recompute this hit."""
        if not self.share or call.snapshot is None or self._chance() >= self.share:
            return
        if len(self.queue):
            return
        recompute = call.snapshot()
        self.queue.submit(lambda: self._check(call, ready, recompute))

    def _check(self, call: Call, ready: Ready, recompute: Callable[[], Any]) -> None:
        try:
            again = codec.encode(recompute(), any_device=True)
            kept = codec.encode(ready.fresh(), any_device=True)
        except Bypass:
            return
        except Exception as error:
            self._recorder.error("shadow", f"recomputing a hit failed: {error!r}", call.subject)
            return
        if again == kept:
            self._recorder.count(call.subject, {"shadow.equal": 1})
            return
        self._recorder.count(call.subject, {"shadow.different": 1})
        if call.deterministic:
            self._recorder.log.error(
                f"{call.recipe.schema}: recomputing {call.recipe.key} gave another result;"
                " the function is not deterministic, or its key lacks an ingredient"
            )
