"""Locks in Redis: leases that are renewed while they are held, and end with their process."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from stepaudio_cas.store.redis_client import answers, checked

if TYPE_CHECKING:
    from collections.abc import Callable

LEASE_SECONDS: Final = 4.0
"""Whoever waits for a machine that has died waits this long."""

RENEW_EVERY: Final = LEASE_SECONDS / 4
SETTLE_EVERY: Final = 0.1
_FORGET: Final = 60.0

RELEASE: Final = (
    "if redis.call('GET',KEYS[1])==ARGV[1] then return redis.call('DEL',KEYS[1]) end return 0"
)
RENEW: Final = (
    "if redis.call('GET',KEYS[1])==ARGV[1] then"
    " return redis.call('PEXPIRE',KEYS[1],ARGV[2]) end return 0"
)


class Leases:
    """The leases that this process holds in one Redis, and the thread that renews them.

    It also gives back those whose release, or whose taking, a server has not confirmed: for one
    that nobody holds the whole fleet would wait until it ends. What is held and left is changed by
    single steps on a dictionary, which need no lock of ours: a lease may be dropped by the garbage
    collector at any moment.
    """

    def __init__(self, client: Callable[[], Any]) -> None:
        self._client = client
        self.start_over()

    def start_over(self) -> None:
        """Hold nothing: in a forked child, what the parent holds is the parent's."""
        self._held: dict[str, str] = {}
        self._left: dict[str, tuple[str, float, bool]] = {}
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None

    def take(self, key: str) -> Lease | None:
        """Take the lease of `key` if nobody has it."""
        token = os.urandom(16).hex()
        pipe = self._client().pipeline(transaction=False)
        pipe.set(key, token, nx=True, px=int(LEASE_SECONDS * 1000))
        pipe.get(key)  # ours stands, even if the answer to a first attempt was lost
        try:
            taken, standing = answers(pipe)
        except Exception:  # it may have been heard nevertheless
            self._leave(key, token)
            raise
        checked(taken)
        if checked(standing) != token.encode():
            return None
        self._held[token] = key
        self._working()
        return Lease(self, key, token)

    def drop(self, token: str) -> bool:
        """Renew a lease no longer; return whether it was ours."""
        return self._held.pop(token, None) is not None

    def release(self, key: str, token: str) -> None:
        """Let the next one in, unless the lease is somebody else's by now."""
        if not self.drop(token):
            return
        try:
            checked(self._client().eval(RELEASE, 1, key, token))
        except Exception:
            self._leave(key, token)
            raise

    def _leave(self, key: str, token: str) -> None:
        """Have a lease given back as soon as the server can be told."""
        self._left[token] = key, time.monotonic() + _FORGET, False
        self._working()

    def settle(self) -> None:
        """Give back what was left.

        A server that hung may take what it was sent before this only after it: it is told twice.
        """
        for token, (key, until, told) in list(self._left.items()):
            if time.monotonic() > until or self._client().eval(RELEASE, 1, key, token) or told:
                self._left.pop(token, None)
            else:
                self._left[token] = key, until, True

    def renew(self) -> None:
        """Have every lease end later; drop those that have ended."""
        held = dict(self._held)
        if not held:
            return
        pipe = self._client().pipeline(transaction=False)
        for token, key in held.items():
            pipe.execute_command("EVAL", RENEW, 1, key, token, int(LEASE_SECONDS * 1000))
        for token, answer in zip(held, answers(pipe), strict=True):
            if answer == 0:
                self.drop(token)

    def _working(self) -> None:
        """Have the thread running; without it a lease merely ends early."""
        with self._starting:
            if self._thread is not None:
                return
            thread = threading.Thread(target=self._run, name="stepaudio-cas leases", daemon=True)
            with contextlib.suppress(RuntimeError):
                thread.start()
                self._thread = thread

    def _run(self) -> None:
        renewed = time.monotonic()
        while True:
            time.sleep(min(SETTLE_EVERY, RENEW_EVERY))
            with self._starting:
                if not self._held and not self._left:
                    self._thread = None
                    return
            with contextlib.suppress(Exception):  # the next round is early enough
                self.settle()
            if time.monotonic() >= renewed + RENEW_EVERY:
                renewed = time.monotonic()
                with contextlib.suppress(Exception):
                    self.renew()


class Lease:
    """One that is held until `release`, or until nobody renews it any more."""

    def __init__(self, leases: Leases, key: str, token: str) -> None:
        self._leases = leases
        self._key = key
        self._token = token

    def __del__(self) -> None:
        self._leases.drop(self._token)

    def release(self) -> None:
        """Let the next one in."""
        self._leases.release(self._key, self._token)
