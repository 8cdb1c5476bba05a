"""`STEPAUDIO_CAS_WATCH`: preset voices, encoded by the model that the host has loaded anyway."""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
import weakref
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from stepaudio_cas._fork import survive_fork
from stepaudio_cas.activation.gate import Gate
from stepaudio_cas.activation.visit import Visit
from stepaudio_cas.errors import CasError, Unavailable
from stepaudio_cas.prewarm import state
from stepaudio_cas.prewarm.daemon import Plan, check_folder
from stepaudio_cas.prewarm.inside import Inside
from stepaudio_cas.prewarm.keeping import Keeping
from stepaudio_cas.prewarm.ledgers import Ledgers
from stepaudio_cas.prewarm.shelf import Shelf
from stepaudio_cas.runtime.attended import NEW, Enough

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from stepaudio_cas.activation.method import HostMethod
    from stepaudio_cas.activation.plugin import HostClass, Plugin
    from stepaudio_cas.runtime.attended import Asked
    from stepaudio_cas.runtime.cache import Cache
    from stepaudio_cas.runtime.tier import Tier
    from stepaudio_cas.store.store import Store

PLAN: Final = Plan(poll=True)
_AGAIN: Final = 60.0
"""Seconds until folders are looked for again that were not there, or that somebody else watched."""

_HERE: Final = "in its own process"
_NICE: Final = 5
"""How much lower the priority is. Not the lowest: a request may wait for what is in hand."""

_LAST: Final = 10.0
"""Seconds that the end of the process waits for the voice in hand."""


class _Known(NamedTuple):
    """A host class that can be asked for voices: its cached methods, and its live instances."""

    host: HostClass
    methods: Sequence[HostMethod]
    instances: list[weakref.ref[Any]]
    served: list[bool]

    def live(self) -> list[Any]:
        return [one for ref in self.instances if (one := ref()) is not None]


class Presets:
    """Encodes what is in folders, in one thread, by a host that lives in this process.

    Begins once there is an instance of a host class. Of several processes of a host one does it;
    another one goes on when that has ended.
    """

    def __init__(
        self, cache: Cache, folders: Sequence[str], *, plan: Plan = PLAN, gate: Gate | None = None
    ) -> None:
        self._cache, self._folders, self._plan = cache, folders, plan
        self.gate = Gate() if gate is None else gate
        self._classes: list[_Known] = []
        self._local = threading.local()
        self._held: list[int] = []
        self._said: set[str] = set()
        self._mute: dict[str, str] = {}
        self._after_fork()
        survive_fork(self)

    def _after_fork(self) -> None:
        """Start over: the thread is not in the child, and the folders are the parent's."""
        for file in self._held:
            with contextlib.suppress(OSError):
                os.close(file)
        self._held = []
        self._lock = threading.Lock()
        self._local = threading.local()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._inside: Inside | None = None

    # What the patched classes tell us.

    def know(self, plugin: Plugin, host: HostClass, methods: Sequence[HostMethod]) -> None:
        """Take down a class that has been patched; those declared later are asked first."""
        if host.voice is not None:
            self._classes.append(_Known(host, methods, [], [False]))
        elif all(one.voice is None for one in plugin.classes):
            self._mute[host.name] = plugin.name

    def born(self, host: HostClass, instance: Any) -> None:
        """Take down an instance: it has just been made, or is being called."""
        for known in self._classes:
            if known.host is host and not any(ref() is instance for ref in known.instances):
                with contextlib.suppress(TypeError):  # it allows no weak references
                    known.instances[:] = [r for r in known.instances if r() is not None]
                    known.instances.append(weakref.ref(instance))
        if self._classes:
            self._start()
        elif host.name in self._mute:
            where, who = ", ".join(self._folders), self._mute[host.name]
            why = f"the plugin {who} does not say how its host encodes a voice (voice=)"
            self._say_once(f"{where} is not watched: {why}; cas-tool watch may do it")

    def call(self, host: HostClass, method: HostMethod, args: Any, kwargs: Any) -> Any:
        """Do a call of a cached method: as a request, or as a part of a voice of ours."""
        visit: Visit | None = getattr(self._local, "visit", None)
        if visit is not None:
            return visit.call(method, args, kwargs)
        first = not getattr(self._local, "within", False)
        if first:
            self._serving(host, args)
        with self.request():
            if not first:
                return method(*args, **kwargs)
            self._local.within = True
            try:
                if self.gate.taken and not self._is_kept(method, args, kwargs):
                    self.gate.wait()
                return method(*args, **kwargs)
            finally:
                self._local.within = False

    @contextlib.contextmanager
    def request(self) -> Iterator[None]:
        """Count a request; what a voice of ours goes through is none."""
        if getattr(self._local, "visit", None) is not None:
            yield
            return
        self.gate.enter()
        try:
            yield
        finally:
            self.gate.leave()

    def _serving(self, host: HostClass, args: Any) -> None:
        for known in self._classes:
            if known.host is host and not known.served[0]:
                known.served[0] = True
                if args:
                    self.born(host, args[0])
        if self._thread is None and self._classes:
            self._start()

    def _is_kept(self, method: HostMethod, args: Any, kwargs: Any) -> bool:
        """Tell whether a call needs no model, so that it need not wait for it."""
        try:
            return self._cache.peek(method.recipe(*args, **kwargs).key) is not None
        except (Exception, SystemExit):  # the call itself says what is wrong
            return False

    # What the daemon asks of a host.

    @property
    def stores(self) -> list[Store]:
        """Where new voices go, fastest first."""
        return [tier.store for tier in self._cache.chain.writable]

    @property
    def ready(self) -> bool:
        """Whether there is an instance whose model is loaded."""
        return self._instance() is not None

    def take(self, seconds: float) -> bool:
        """Have the host for one voice."""
        return self.gate.take(seconds)

    def give_back(self) -> None:
        """Let requests have it again."""
        self.gate.give_back()

    def make(self, path: str, label: str) -> tuple[list[Asked], str]:
        """Have the host encode a recording, unless that is there; say what stopped it."""
        visit = Visit(self._cache, label)
        trouble = self._attend(path, visit)
        if any(call.state == NEW for call in visit.asked):
            self._cache.flush(30.0)
        return visit.asked, trouble

    def key(self, path: str) -> tuple[list[Asked], str]:
        """Find which calls the host makes for a recording, without its model."""
        visit = Visit(self._cache, "", computing=False)
        return visit.asked, self._attend(path, visit)

    def _attend(self, path: str, visit: Visit) -> str:
        """Have the host do what it does for a recording; say what stopped it."""
        found = self._instance()
        if found is None:
            return "its model is not loaded"
        voice, instance = found
        self._local.visit = visit
        trouble = ""
        try:
            voice(instance, path)
        except Enough:
            pass
        except BaseException as error:  # whatever it is, it is this voice's
            trouble = f"{type(error).__name__}: {' '.join(str(error).split())}"
        finally:
            self._local.visit = None
        if not trouble and not visit.asked:
            trouble = "nothing; it made no call that is cached"
        return trouble

    def again(self) -> None:
        """Leave stores alone that have failed: requests would wait for them."""

    def close(self) -> bool:
        """Leave it as it is: it is not ours."""
        return True

    def _instance(self) -> tuple[Callable[[Any, str], object], Any] | None:
        """Find who is to be asked: of the last class that is in use, the newest that is loaded.

        While a class has no instance, one declared before it is only asked if it serves requests
        itself: else the host may be about to make that instance.
        """
        for number, known in enumerate(reversed(self._classes)):
            live = known.live()
            if not live or (number and not known.served[0]):
                continue
            for instance in reversed(live):
                if all(_is_loaded(method, instance) for method in known.methods):
                    assert known.host.voice is not None
                    return known.host.voice, instance
            return None
        return None

    # The thread.

    def _start(self) -> None:
        inside = self._inside
        if inside is not None:
            inside.bell.ring()
        if self._thread is not None or self._stop.is_set():
            return
        with self._lock:
            if self._thread is not None:
                return
            thread = threading.Thread(target=self._run, name="stepaudio-cas presets", daemon=True)
            with contextlib.suppress(RuntimeError):  # the interpreter is going down
                thread.start()
                self._thread = thread
                atexit.register(self.stop)

    def stop(self) -> None:
        """End it, after the voice in hand."""
        self._stop.set()
        self.gate.close()
        inside, thread = self._inside, self._thread
        if inside is not None:
            inside.stop()
        if thread is not None:
            thread.join(_LAST)

    def _run(self) -> None:
        with contextlib.suppress(OSError, AttributeError):  # a thread has its own, on Linux
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
        stop = self._stop
        while not stop.is_set():
            try:
                self._watch(stop)
            except CasError as error:
                self._say_once(str(error))
            except BaseException as error:  # the host goes on without it, and it goes on later
                self._say_once(f"{type(error).__name__}: {error}")
            stop.wait(_AGAIN)

    def _watch(self, stop: threading.Event) -> None:
        folders = list(dict.fromkeys(map(check_folder, self._folders)))
        backends = [tier.store.backend for tier in self._cache.chain.tiers]
        places = state.prepare(state.default_folder(), folders, backends)
        ledgers: dict[str, Ledgers] = {}
        try:
            for place in places:
                self._held += place.lock()
            shelves = [_Shelf(tier) for tier in self._cache.chain.tiers]
            urls = [shelf.url for shelf in shelves]
            for place in places:
                ledgers[place.folder] = Ledgers(place, _HERE, urls)
            keeping = Keeping(shelves, ledgers)
            facts = {"host": _HERE, "stores": [s.url for s in self.stores]}
            self._inside = Inside(
                places,
                self,
                keeping,
                plan=self._plan,
                say=self._say,
                stores=shelves,
                facts=facts,
            )
            if not stop.is_set():
                self._inside.run()
        finally:
            self._inside = None
            for ledger in ledgers.values():
                ledger.close()
            while self._held:
                os.close(self._held.pop())

    def _say(self, text: str, *, error: bool = False, **_: Any) -> None:
        log = self._cache.recorder.log
        (log.error if error else log.info)(f"presets: {text}")

    def _say_once(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            self._say(text, error=True)


def _is_loaded(method: HostMethod, instance: Any) -> bool:
    try:
        return method.method.model(instance) is not None
    except BaseException:  # a call says what is wrong
        return False


class _Shelf(Shelf):
    """A store that the host uses, too."""

    def __init__(self, tier: Tier) -> None:
        super().__init__(tier.store)
        self._tier = tier

    def check(self) -> None:
        """Raise whatever the store raises, and while the host's own calls leave it alone."""
        super().check()
        if not self._tier.writable or self._tier.writing.state == "open":
            raise Unavailable("suspended", "the host leaves it alone for a while")
