"""A daemon in a thread of this process, on the small host, with short times."""

import os
import threading

from stepaudio_cas.activation.loading import parse_host
from stepaudio_cas.cli.hosts import Opening
from stepaudio_cas.cli.main import main
from stepaudio_cas.maintenance.inventory import pinned
from stepaudio_cas.maintenance.pins import read_pin
from stepaudio_cas.prewarm import state
from stepaudio_cas.prewarm.daemon import Daemon, Plan
from stepaudio_cas.prewarm.desk import Retry
from stepaudio_cas.prewarm.keeping import Keeping
from stepaudio_cas.prewarm.ledgers import Ledgers
from stepaudio_cas.prewarm.outage import Patience
from stepaudio_cas.prewarm.settle import Settle
from stepaudio_cas.prewarm.shelf import Shelf
from stepaudio_cas.prewarm.watched import Pace
from stepaudio_cas.store.local import LocalBackend
from stepaudio_cas.store.store import Store
from tests.support.processes import wait_until

QUICK = Plan(
    settle=Settle(0.05),
    retry=Retry(2, 0.05),
    patience=Patience(0.02, 0.05),
    pace=Pace(polling=0.05, first=0.2, longest=1.0),
    beat=1.0,
)


class Watching:
    """Use it as a context manager; `said` has what was said, with its facts."""

    def __init__(self, small, root, states, plan=QUICK, *, folders=None, roots=()):
        self.small, self.root, self.said = small, root, []
        self.backend, *_ = backends = [LocalBackend(root), *map(LocalBackend, roots)]
        self.places = state.prepare(str(states), folders or [str(small.voices)], [self.backend])
        ledgers = {
            place.folder: Ledgers(place, small.spec, [b.url for b in backends])
            for place in self.places
        }
        shelves = [Shelf(Store(backend)) for backend in backends]
        self.keeping = Keeping(shelves, ledgers)
        opening = Opening(parse_host(small.spec), ",".join(map(str, [root, *roots])))
        self.daemon = Daemon(
            self.places, opening, self.keeping, plan=plan, say=self._say, stores=shelves
        )
        self.error = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _say(self, text, *, error=False, **facts):
        self.said.append((text, facts))

    def _run(self):
        try:
            self.daemon.run()
        except BaseException as error:
            self.error = error

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self.end()

    def end(self):
        self.daemon.stop()
        self._thread.join(60)
        assert not self._thread.is_alive()
        if self.error is not None:
            raise self.error

    def states(self, voice):
        """Return what has become of a voice, in order."""
        return [facts["state"] for _, facts in list(self.said) if facts.get("voice") == str(voice)]

    def wait_for(self, voice, state, times=1):
        self.until(lambda: self.states(voice).count(state) >= times)

    def until(self, condition):
        wait_until(lambda: self.error is not None or condition())
        assert self.error is None, self.error

    def labels(self):
        """Return the pinned keys with their labels."""
        found = {key: read_pin(self.backend, key) for key in pinned(self.backend)}
        return {key: pin.label for key, pin in found.items() if pin is not None}

    def pinned_voices(self):
        return {os.path.relpath(label, self.small.voices) for label in self.labels().values()}


def keys_of(small, root, capfd):
    """Ask `cas-tool prewarm`, and an empty store, which keys the voices in the folder have."""
    main(["--store", str(root), "prewarm", str(small.voices), "--host", small.spec])
    capfd.readouterr()
    return pinned(LocalBackend(root))
