"""The network between the fleet and one server: it can be slow, lossy, or refuse connections."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from socket import create_server

from tests.support.proxy import Proxy

_PATIENCE = 30.0


class Wire(Proxy):
    """A proxy on a port that stays the same; without `delay` and `loss` everything passes."""

    def __init__(self, port: int, seed: str) -> None:
        self.delay = self.loss = 0.0
        self._chance = random.Random(seed)
        super().__init__(port, self._disturbs)

    def _disturbs(self) -> bool:
        if self.delay:
            time.sleep(self.delay)
        return self.loss > 0 and self._chance.random() < self.loss

    def refuse(self) -> None:
        """Have connections refused, as where no server listens."""
        self.close()

    def accept(self) -> None:
        """Take connections again, at the same address."""
        end = time.monotonic() + _PATIENCE
        while True:
            try:
                self._listener = create_server(("127.0.0.1", self.port), backlog=128)
                break
            except OSError:  # somebody's outgoing connection has taken the number for a moment
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)
        threading.Thread(target=self._accept, daemon=True).start()

    def calm(self) -> None:
        self.delay = self.loss = 0.0

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(2)  # wakes who is waiting in `accept`
        super().close()
