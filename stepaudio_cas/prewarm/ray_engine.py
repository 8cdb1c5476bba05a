"""What `workers` does, on the machines of a Ray cluster: actors that each load a host once.

Ray places the actors, on whichever machine has room, and tells of those that are lost. What is
left to us is to give each one item at a time, so that it is known on which an actor died, and to
give that item to another actor, a bounded number of times.
"""

from __future__ import annotations

import contextlib
import os
import platform
import re
import socket
import sys
import threading
import time
from collections import Counter, deque
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, TypeVar, cast

from stepaudio_cas.errors import CasError, SettingError
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

_OBJECTS: Final = 100 * 1000**2
"""Bytes of shared memory for Ray on this machine: what goes through it are names and outcomes."""

_PATIENCE: Final = 10.0
"""Seconds for a cluster to say that it is there."""

_LAST_WORDS: Final = 1.0
"""Seconds in which Ray has brought what was printed elsewhere, if somebody wants to see it."""

_DETAIL: Final = re.compile(r"Worker exit detail: (.*?)(?: There are some potential|\n|$)").search
_PLACE: Final = re.compile(r"\bip(?:=|: )([\w.:]+)").search


class Cluster(NamedTuple):
    """Which cluster, and how much of its machine an actor takes.

    Without an `address` it is one of our own, on this machine, that ends with us.
    """

    address: str | None = None
    cpus: float = 1.0
    gpus: float = 0.0


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

    def do(self, item: Any) -> Any:
        return self._do(self._host, item)

    def close(self) -> bool:
        return bool(self._host.close())


class _Actor:
    """One actor as it is seen from here: what it was asked last, and the item it has in hand."""

    def __init__(self, handle: Any) -> None:
        self.handle = handle
        self.answer: Any = handle.load.remote()
        self.item: Any = None
        self.ready = False

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
        self._ending = False
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
        self._ray = _connect(self._cluster, show=self._show)
        lacking = self._lacking()
        if lacking and self._cluster.address is None:
            raise SettingError(lacking)
        if lacking:  # clusters grow
            self._tell(f"{lacking} now; waiting for one that has")

    def _leave(self) -> None:
        sys.stdout = self._apart(None)  # Ray says in our own thread what it had held back
        try:
            if self._ray is not None:
                self._ray.shutdown()
        finally:
            sys.stdout = self._stdout

    def _apart(self, thread: int | None) -> TextIO:
        others = sys.stderr if self._show else None
        return cast("TextIO", _Shared(self._stdout, thread, others))

    def _lacking(self) -> str:
        """Say that no machine which is there now has room for an actor; empty if one has."""
        wanted = {"CPU": self._cluster.cpus, "GPU": self._cluster.gpus}
        machines = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        if any(all(has.get(kind, 0) >= n for kind, n in wanted.items()) for has in machines):
            return ""
        text = " and ".join(f"{n:g} {kind}" for kind, n in wanted.items() if n)
        return f"no machine of the Ray cluster has {text} for an actor"

    def _heard(self) -> Iterator[tuple[Item, Result | Lost]]:
        while self._done:
            yield self._done.popleft()

    def _hand_out(self) -> None:
        for actor in self._actors:
            if self._queue and actor.ready and not actor.busy:
                actor.item = self._queue.popleft()
                actor.answer = actor.handle.do.remote(actor.item)
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
        self._ray.wait(list(asked), num_returns=1)
        there, _ = self._ray.wait(list(asked), num_returns=len(asked), timeout=0)
        for answer in there:
            self._take(asked[answer])
        self._hand_out()

    def _take(self, actor: _Actor) -> None:
        errors = self._ray.exceptions
        try:
            value = self._ray.get(actor.answer)
        except errors.RayTaskError as error:  # the actor lives; what it was asked cannot be said
            value = Lost(_one_line(getattr(error, "cause", None) or error))
        except errors.RayError as error:
            self._lose(actor, _ending(error))
            return
        if not actor.ready:
            if value is not None:
                usage, text = getattr(value, "usage", False), value.why
                raise SettingError(text) if usage else CasError(text)
            self._unloaded = 0
            actor.ready, actor.answer = True, None
            return
        actor.answer = None
        self._deaths.pop(actor.item, None)
        self._done.append((actor.item, value))

    def _lose(self, actor: _Actor, why: str) -> None:
        """Go on without an actor: another one gets its item, unless that was given to enough."""
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


class _Shared:
    """A stdout that one thread writes to, and others do not, whatever they think.

    Ray tells there of workers that died, whether or not anybody wants to know, and between the
    lines of a document.
    """

    def __init__(self, stream: TextIO, thread: int | None, others: TextIO | None) -> None:
        self._stream, self._thread, self._others = stream, thread, others

    def write(self, text: str) -> int:
        stream = self._stream if threading.get_ident() == self._thread else self._others
        return len(text) if stream is None else stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _ours(names: Iterable[str]) -> list[str]:
    return [name for name in names if name == PREFIX or name.startswith(f"{PREFIX}_")]


def _connect(cluster: Cluster, *, show: bool) -> Any:
    """Join a cluster, or start one that only this machine reaches: whoever does may run code."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # both are read when it is imported
    if cluster.address is None:
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # Ray's name for loopback only
    try:
        import ray  # noqa: PLC0415 - an extra, and large
    except ImportError:
        raise SettingError("--engine ray needs Ray: pip install 'stepaudio-cas[ray]'") from None
    how: dict[str, Any] = {"log_to_driver": show, "logging_level": "ERROR"}
    if cluster.address is None:
        how |= {"object_store_memory": _OBJECTS, "include_dashboard": False}
        how |= {"_node_ip_address": "127.0.0.1"}
    else:
        _knock(cluster.address)
    try:
        ray.init(address=cluster.address or "local", **how)
    except Exception as error:  # of several kinds; other versions of Ray or Python among them
        where = cluster.address or "of our own"
        raise CasError(f"the Ray cluster {where}: {_one_line(error)}") from None
    return ray


def _knock(address: str) -> None:
    """Look whether anybody is there: Ray asks again and again, for minutes."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():  # `auto`, and whatever else Ray knows
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), _PATIENCE).close()
    except OSError as error:
        raise CasError(f"the Ray cluster {address}: {_one_line(error)}") from None


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _ending(error: Exception) -> str:
    """Say how an actor ended, and where: in Ray's words, without the page of advice around them."""
    text = str(error).strip()
    detail, place = _DETAIL(text), _PLACE(text)
    if detail is not None:
        said = detail[1].strip().rstrip(".")
    elif "Traceback" in text:  # something that is not installed there
        said = text.splitlines()[-1].strip()
    else:
        said = _one_line(error)
    return f"{said}, on {place[1]}" if place is not None else said
