"""`cas-tool watch`: keep a store in step with folders of voices, as files come and go."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
from typing import TYPE_CHECKING, Any, Final

from stepaudio_cas.cli import filters, hosts, tables, watch_status
from stepaudio_cas.cli.codes import FINE, FOUND
from stepaudio_cas.cli.stores import open_stores, read_settings
from stepaudio_cas.errors import CasError, SettingError
from stepaudio_cas.prewarm import state
from stepaudio_cas.prewarm.daemon import Daemon, Plan, check_folder
from stepaudio_cas.prewarm.desk import Retry
from stepaudio_cas.prewarm.keeping import Keeping
from stepaudio_cas.prewarm.ledgers import Ledgers
from stepaudio_cas.prewarm.settle import Settle, leased
from stepaudio_cas.prewarm.shelf import Shelf
from stepaudio_cas.prewarm.watched import Pace
from stepaudio_cas.runtime.log import Log
from stepaudio_cas.settings import PREFIX, Mode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stepaudio_cas.activation.loading import HostSpec
    from stepaudio_cas.prewarm.state import Place

_ENDING: Final = (signal.SIGTERM, signal.SIGINT)
_EPILOG: Final = """\
cas-tool watch /srv/voices --host 'stepaudio:/app?model=/models'
  cas-tool watch --status"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add what comes after `watch`."""
    parser.description = (
        "Encode the voices in folders, and go on doing so as files are added, changed, moved and\n"
        "removed. Each voice is labelled with its path and pinned until its file is removed. A\n"
        "file that cannot be encoded is named, and the rest goes on. SIGTERM finishes the file in\n"
        "hand. One daemon watches a folder at a time."
    )
    parser.epilog = hosts.epilog(_EPILOG)
    parser.add_argument("folders", nargs="*", metavar="FOLDER", help="with all folders in it")
    hosts.add(parser, required=False)
    parser.add_argument("--status", action="store_true", help="say how a daemon is doing; 1: badly")
    parser.add_argument("--state", metavar="DIR", help="where daemons say it [~/.local/state/…]")
    parser.add_argument("--once", action="store_true", help="do what is to be done now, and end")
    parser.add_argument(
        "--jobs", type=filters.number(1), default=1, metavar="N", help="processes [1]"
    )
    parser.add_argument("--no-pin", action="store_true", help="let gc have them when they are old")
    parser.add_argument(
        "--poll", action="store_true", help="look at the folders; else that is found out"
    )
    for name, default, text in (
        ("every", "2s", "when polling: look so often, or less often if that takes long"),
        ("settle", "1s", "a file must stand still for so long, if nothing tells it is complete"),
        ("backoff", "10s", "try again after so long what failed, then after twice as long …"),
        ("limit", "15m", "a voice that takes longer has failed"),
        ("beat", "10s", "give a sign of life so often"),
    ):
        parser.add_argument(
            f"--{name}", type=_seconds, default=default, metavar="TIME", help=f"{text} [{default}]"
        )
    parser.add_argument(
        "--retries", type=filters.number(0), default=5, metavar="N", help="and so many times [5]"
    )


def main(options: argparse.Namespace) -> int:
    """Watch until told to stop; or say how those do who watch."""
    states = os.path.abspath(os.path.expanduser(options.state or state.default_folder()))
    given = [*options.folders, *(options.after or ())]
    if options.status:
        return watch_status.show(states, given, as_document=options.json)
    if not given or options.host is None:
        raise SettingError("cas-tool watch FOLDER… --host HOST; or cas-tool watch --status")
    settings = read_settings(options)
    if settings.mode in {Mode.RO, Mode.OFF}:
        text = f"{PREFIX}_MODE is {settings.mode.value}: nothing can be kept; unset it to do so"
        raise SettingError(text)
    opening = hosts.opening(options)
    folders = list(dict.fromkeys(map(check_folder, given)))
    stores = open_stores(options, writing=True)
    facts = {"host": options.host, "stores": [s.url for s in stores], "once": options.once}
    say = _Say(Log(settings.log), programs=options.json)
    backends = [store.backend for store in stores]
    with _taken(state.prepare(states, folders, backends)) as places:
        shelves = [Shelf(store) for store in stores]
        kept = None if options.no_pin else _keeping(places, opening.spec, shelves, say)
        daemon = Daemon(
            places, opening, kept, plan=_plan(options), say=say, stores=shelves, facts=facts
        )
        with _signals(daemon):
            try:
                daemon.run()
            except KeyboardInterrupt:
                say("stopped at once; what was in hand is encoded the next time", error=True)
                raise
            except CasError:  # the host has never been there
                _withdraw(places)
                raise
        if options.once:
            _withdraw(places)
        if kept is not None:
            kept.close()
    if daemon.unwritten:
        say("not everything was written to the slower stores; cas-tool sync does it", error=True)
    return FOUND if daemon.unwritten or (options.once and daemon.troubled) else FINE


def _keeping(places: list[Place], spec: HostSpec, shelves: list[Shelf], say: _Say) -> Keeping:
    """Open the ledgers: those that are for this host and these stores."""
    host = repr((spec.folder, spec.module, spec.function, sorted(spec.options.items())))
    urls = [shelf.url for shelf in shelves]
    for place in places:
        if place.others(host, urls):
            say(f"{place.folder} is also kept in step for another host or store; pins of that stay")
    return Keeping(shelves, {place.folder: Ledgers(place, host, urls) for place in places})


def _withdraw(places: list[Place]) -> None:
    """Have the state say what it said before: nobody is to miss us."""
    for place in places:
        place.withdraw()


def _plan(options: argparse.Namespace) -> Plan:
    return Plan(
        settle=Settle(options.settle, leased),
        retry=Retry(options.retries, options.backoff),
        pace=Pace(polling=options.every),
        poll=options.poll,
        jobs=options.jobs,
        limit=options.limit,
        beat=options.beat,
        once=options.once,
        show=options.verbose,
    )


class _Say:
    """Tells people in the log, and programs, with `--json`, in lines."""

    def __init__(self, log: Log, *, programs: bool) -> None:
        self._log, self._programs = log, programs

    def __call__(self, text: str, *, error: bool = False, **facts: Any) -> None:
        (self._log.error if error else self._log.info)(tables.clean(text))
        if self._programs and facts:
            with contextlib.suppress(OSError, ValueError):  # nobody reads
                tables.line(facts)
                sys.stdout.flush()


@contextlib.contextmanager
def _taken(places: list[Place]) -> Iterator[list[Place]]:
    """Hold the folders. Raises `CasError` if somebody else does."""
    held: list[int] = []
    try:
        for place in places:
            held += place.lock()
        yield places
    finally:
        for file in held:
            os.close(file)


@contextlib.contextmanager
def _signals(daemon: Daemon) -> Iterator[None]:
    """End the daemon in order on the first signal, at once on the second."""

    def stop(*_: object) -> None:
        for number in _ENDING:
            signal.signal(number, _at_once)
        daemon.stop()

    names = (*_ENDING, signal.SIGIO)
    before = [signal.getsignal(number) for number in names]
    signal.signal(signal.SIGIO, signal.SIG_IGN)  # comes when a file is opened that we look at
    for number in _ENDING:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in zip(names, before, strict=True):
            signal.signal(number, handler)


def _at_once(*_: object) -> None:
    for number in _ENDING:
        signal.signal(number, signal.SIG_IGN)  # that is done soon, and should be done wholly
    raise KeyboardInterrupt


def _seconds(text: str) -> float:
    seconds = filters.duration(text)
    if seconds <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no time")
    return seconds
