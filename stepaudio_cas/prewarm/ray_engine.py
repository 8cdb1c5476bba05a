"""What `workers` does, on the machines of a Ray cluster: actors that each load a host once.

Ray places the actors, on whichever machine has room, and tells of those that are lost. What is
left to us is to give each one item at a time, so that it is known on which an actor died, and to
give that item to another actor, a bounded number of times.
"""

from __future__ import annotations

import contextlib
import os
import platform
import sys
import threading
import time
from collections import Counter, deque
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, TypeVar, cast

from stepaudio_cas.errors import CasError, SettingError
from stepaudio_cas.prewarm.ray_cluster import (
    Cluster,
    Shared,
    connect,
    died,
    ending,
    lacking,
    one_line,
)
from stepaudio_cas.prewarm.workers import Lost
from stepaudio_cas.settings import PREFIX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from types import TracebackType
    from typing import TextIO

Item = TypeVar("Item")
Result = TypeVar("Result")

TRIES: Final = 3
"""How many actors an item gets before it is given up."""

_LAST_WORDS: Final = 1.0
"""Seconds in which Ray has brought what was printed elsewhere, if somebody wants to see it."""

_LOOK: Final = 1.0
"""Seconds without an answer until the cluster is looked at: Ray waits for ever for what is gone."""

_ROOM: Final = 10.0
"""Seconds in which an actor begins where there is room for it."""


class _Unloadable(NamedTuple):
    """Why a host cannot be loaded, and whether that is what somebody has set."""

    why: str
    usage: bool


class _Remote:
    """What runs on the other machine."""

    def __init__(
        self,
        load: Callable[[], Any],
        do: Callable[[Any, Any], Any],
        variables: Mapping[str, str],
        show: bool,
    ) -> None:
        self._load, self._do, self._variables, self._show = load, do, variables, show
        self._host: Any = None

    def load(self) -> _Unloadable | None:
        """Load the host, with the settings of the command and not those of the machine."""
        if self._show:  # Ray takes it to the command's stderr; else it stays in Ray's log
            os.dup2(2, 1)
        for name in _ours(os.environ):
            del os.environ[name]
        os.environ.update(self._variables)
        try:
            self._host = self._load()
        except BaseException as error:
            ours = isinstance(error, CasError)
            text = str(error) if ours else f"{type(error).__name__}: {error}"
            return _Unloadable(f"{text} (on {platform.node()})", isinstance(error, SettingError))
        return None

    def here(self) -> None:
        """Say that there is room for it."""

    def do(self, item: Any) -> Any:
        return self._do(self._host, item)

    def close(self) -> bool:
        return bool(self._host.close())


class _Actor:
    """One actor as it is seen from here: what it was asked last, and the item it has in hand."""

    def __init__(self, handle: Any) -> None:
        self.handle = handle
        self.placed = False
        self._here = handle.here.remote()
        self.answer: Any = handle.load.remote()
        self.item: Any = None
        self.ready = False

    def look(self, ray: Any) -> bool:
        """Tell whether it has begun, on some machine."""
        self.placed = self.placed or bool(ray.wait([self._here], timeout=0)[0])
        return self.placed

    @property
    def busy(self) -> bool:
        """Whether it has an item in hand."""
        return self.ready and self.answer is not None


class RayWorkers(Generic[Item, Result]):
    """Some actors, asked for as there is work for them. Use it as a context manager.

    It is used as `Workers` is. `load`, `do` and what they return are pickled; modules are not, so
    the machines have what is imported there. Raises `CasError` when a host cannot be loaded, and
    when there is no such cluster.
    """

    def __init__(
        self,
        load: Callable[[], Any],
        do: Callable[[Any, Item], Result],
        jobs: int = 1,
        *,
        cluster: Cluster | None = None,
        show: bool = False,
        tell: Callable[[str], object] = len,
    ) -> None:
        """With `tell`, somebody hears what is being waited for."""
        self._jobs, self._show, self._tell = jobs, show, tell
        self._cluster = Cluster() if cluster is None else cluster
        self._parts = (load, do, {name: os.environ[name] for name in _ours(os.environ)}, show)
        self._ray: Any = None
        self._stdout = sys.stdout
        self._actors: list[_Actor] = []
        self._queue: deque[Item] = deque()
        self._done: deque[tuple[Item, Result | Lost]] = deque()
        self._deaths: Counter[Item] = Counter()
        self._unloaded = 0
        self._ending = self._waits = False
        self._since = time.monotonic()
        self.unwritten = 0
        """Actors that ended without having written everything to the slower stores."""

    def __enter__(self) -> RayWorkers[Item, Result]:
        self._stdout = sys.stdout
        sys.stdout = self._apart(threading.get_ident())
        try:
            self._join()
        except BaseException:
            self._leave()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.finish(now=kind is not None)
            if self._show:
                time.sleep(_LAST_WORDS)
        finally:
            self._leave()

    @property
    def pending(self) -> int:
        """How many items have been given whose results have not been heard."""
        return len(self._queue) + sum(actor.busy for actor in self._actors)

    def run(self, items: Iterable[Item]) -> Iterator[tuple[Item, Result | Lost]]:
        """Yield each item with its result, in the order in which they are done.

        No more items are taken than the actors have in hand, and one for each to go on with.
        """
        for item in items:
            self._queue.append(item)
            self._hand_out()
            while self.pending >= 2 * self._jobs:
                self._hear()
                yield from self._heard()
        while self.pending:
            self._hear()
            yield from self._heard()

    def finish(self, *, now: bool = False) -> list[tuple[Item, Result | Lost]]:
        """End the actors, and return the results of what they had in hand.

        Each finishes that, and writes what is still to be written. With `now` they are stopped,
        which leaves every store whole, too.
        """
        self._ending = True
        self._queue.clear()
        for actor in list(self._actors):
            if now or not actor.ready:
                self._end(actor)
        while self.pending:
            self._hear()
        closing = [(actor, actor.handle.close.remote()) for actor in self._actors]
        for actor, answer in closing:
            written = False
            with contextlib.suppress(self._ray.exceptions.RayError):
                written = bool(self._ray.get(answer))
            self.unwritten += not written
            self._end(actor)
        return list(self._heard())

    def _join(self) -> None:
        self._ray = connect(self._cluster, show=self._show)
        missing = lacking(self._ray, self._cluster)
        if missing and self._cluster.address is None:
            raise SettingError(missing)
        if missing:  # clusters grow
            self._wait_for_room(missing)

    def _wait_for_room(self, why: str) -> None:
        self._tell(f"{why}; waiting for one that has")
        self._waits = True

    def _leave(self) -> None:
        sys.stdout = self._apart(None)  # Ray says in our own thread what it had held back
        try:
            if self._ray is not None:
                self._ray.shutdown()
        finally:
            sys.stdout = self._stdout

    def _apart(self, thread: int | None) -> TextIO:
        others = sys.stderr if self._show else None
        return cast("TextIO", Shared(self._stdout, thread, others))

    def _heard(self) -> Iterator[tuple[Item, Result | Lost]]:
        while self._done:
            yield self._done.popleft()

    def _hand_out(self) -> None:
        for actor in self._actors:
            if self._queue and actor.ready and not actor.busy:
                actor.item = self._queue.popleft()
                actor.answer = actor.handle.do.remote(actor.item)
        if not self._actors:
            self._since = time.monotonic()
        loading = sum(not actor.ready for actor in self._actors)
        while len(self._actors) < self._jobs and loading < len(self._queue):
            self._actors.append(_Actor(self._place()))
            loading += 1

    def _place(self) -> Any:
        """Ask Ray for an actor. It gets none of Ray's own restarts: those count for all items."""
        kind = self._ray.remote(_Remote).options(
            num_cpus=self._cluster.cpus,
            num_gpus=self._cluster.gpus,
            max_restarts=0,
            max_task_retries=0,
        )
        return kind.remote(*self._parts)

    def _hear(self) -> None:
        """Wait until an actor answers, and take all answers that are there by then."""
        asked = {actor.answer: actor for actor in self._actors if actor.answer is not None}
        while not self._ray.wait(list(asked), num_returns=1, timeout=_LOOK)[0]:
            self._look()
        there, _ = self._ray.wait(list(asked), num_returns=len(asked), timeout=0)
        for answer in there:
            self._take(asked[answer])
        self._hand_out()

    def _look(self) -> None:
        """Find out why nobody answers: an actor is at work, or there is no place for one.

        A cluster of our own does not grow, and ends with its machine; others may come to one that
        was joined.
        """
        self._check_ours()
        if self._cluster.address is None:
            return
        if any(actor.look(self._ray) for actor in self._actors):
            self._go_on()
        elif not self._waits and time.monotonic() - self._since >= _ROOM:
            full = f"no machine of the Ray cluster has had room for an actor for {_ROOM:g} s"
            self._wait_for_room(lacking(self._ray, self._cluster) or full)

    def _check_ours(self) -> None:
        """End if what we reach the cluster through is gone: Ray then lets no actor of ours live."""
        why = died(self._ray, self._cluster)
        if why:
            self._actors.clear()  # nobody is left to tell them
            raise CasError(f"{why}; what is encoded is in the store: run it again for the rest")

    def _go_on(self) -> None:
        if self._waits:
            self._tell("the Ray cluster has room for an actor: going on")
        self._waits, self._since = False, time.monotonic()

    def _take(self, actor: _Actor) -> None:
        errors = self._ray.exceptions
        try:
            value = self._ray.get(actor.answer)
        except errors.RayTaskError as error:  # the actor lives; what it was asked cannot be said
            value = Lost(one_line(getattr(error, "cause", None) or error))
        except errors.RayError as error:
            self._lose(actor, ending(error))
            return
        if not actor.ready:
            if value is not None:
                usage, text = getattr(value, "usage", False), value.why
                raise SettingError(text) if usage else CasError(text)
            self._unloaded = 0
            self._go_on()
            actor.ready, actor.answer = True, None
            return
        actor.answer = None
        self._deaths.pop(actor.item, None)
        self._done.append((actor.item, value))

    def _lose(self, actor: _Actor, why: str) -> None:
        """Go on without an actor: another one gets its item, unless that was given to enough."""
        self._check_ours()
        self._end(actor)
        if not actor.ready:
            self._unloaded += 1
            if self._unloaded >= TRIES * self._jobs:
                raise CasError(
                    f"the host cannot be loaded: {self._unloaded} actors died of it ({why});"
                    " --verbose shows what they said"
                )
            return
        item: Item = actor.item
        self._deaths[item] += 1
        times = self._deaths[item]
        if self._ending or times >= TRIES:
            del self._deaths[item]
            often = f", {times} times" if times > 1 else ""
            self._done.append((item, Lost(f"its actor died{often} ({why})")))
        else:
            self._queue.appendleft(item)

    def _end(self, actor: _Actor) -> None:
        """Stop an actor: also one that is only out of reach, or it would go on there for nobody."""
        self._actors.remove(actor)
        with contextlib.suppress(self._ray.exceptions.RayError, ValueError):
            self._ray.kill(actor.handle, no_restart=True)


def _ours(names: Iterable[str]) -> list[str]:
    return [name for name in names if name == PREFIX or name.startswith(f"{PREFIX}_")]
