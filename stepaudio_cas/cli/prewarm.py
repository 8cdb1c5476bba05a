"""`cas-tool prewarm`: encode voices before they are asked for, as the host would."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from stepaudio_cas.cli import engines, hosts, tables
from stepaudio_cas.cli.codes import FINE, FOUND, INTERRUPTED
from stepaudio_cas.cli.stores import read_settings
from stepaudio_cas.errors import SettingError
from stepaudio_cas.maintenance.pins import pin
from stepaudio_cas.prewarm.encode import FAILED, NEW, THERE, Encoding, Outcome
from stepaudio_cas.prewarm.voices import Search, Voice, find
from stepaudio_cas.prewarm.workers import Lost
from stepaudio_cas.settings import PREFIX, Mode
from stepaudio_cas.units import show_seconds

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from stepaudio_cas.store.backend import Backend


def configure(parser: argparse.ArgumentParser) -> None:
    """Add what comes after `prewarm`."""
    parser.description = (
        "Encode voices before they are asked for, by the host's own code, so that the host finds\n"
        "them when it is given the same file. What is there already is not encoded again. Each is\n"
        "labelled with its path and pinned: gc leaves it alone."
    )
    parser.epilog = hosts.epilog(
        "cas-tool prewarm voices/ s3://bucket/voices --host 'stepaudio:/app?model=/models'\n"
        "  cas-tool --store s3://fleet/editx prewarm s3://bucket/voices --host … --engine ray \\\n"
        "      --ray-address head:6379 --jobs 16 --gpus 1"
    )
    parser.add_argument(
        "places", nargs="+", metavar="PATH|URL", help="recordings, and folders or buckets of them"
    )
    hosts.add(parser, required=True)
    parser.add_argument("--no-pin", action="store_true", help="let gc have them when they are old")
    engines.add(parser)


def main(options: argparse.Namespace) -> int:
    """Encode what is not there; say what was new, what was there, and what failed."""
    settings, cluster = read_settings(options), engines.cluster(options)
    mode = settings.mode
    if mode in {Mode.RO, Mode.OFF}:
        raise SettingError(f"{PREFIX}_MODE is {mode.value}: nothing can be kept; unset it to do so")
    opening = hosts.opening(options)
    others = cluster is not None and cluster.address is not None
    if others:
        opening = engines.shared(opening, settings, shared_disk=options.shared_disk)
    places = [*options.places, *(options.after or ())]
    if others:
        engines.check_places(places, shared_disk=options.shared_disk)
    voices = find(places)
    report = _Report(options.json, voices)
    encoding = Encoding(None if options.no_pin else _pin)
    jobs, verbose = options.jobs, options.verbose
    with engines.start(cluster, opening, encoding, jobs, show=verbose, tell=_say) as workers:
        try:
            quiet = options.json or verbose
            with (
                tables.progress("encoding", quiet=quiet, rate=True) as advance,
                _counted(voices, advance),
            ):
                for voice, outcome in workers.run(voices):
                    report.add(voice, outcome)
                    advance()
        except KeyboardInterrupt:
            report.interrupted = True
            _say("finishing what is in hand; Ctrl-C again to stop at once")
        for voice, outcome in workers.finish():
            report.add(voice, outcome)
    report.unwritten = workers.unwritten
    return report.finish()


@contextlib.contextmanager
def _counted(voices: Search, advance: tables.Advance) -> Iterator[None]:
    """Meanwhile find out how many there are, if somebody sees how far it is.

    They are listed once more for that, so that nobody has to wait for it or to remember them.
    """
    over = threading.Event()

    def count() -> None:
        total = voices.count(lambda: not over.is_set())
        if total is not None:
            advance(0, total=total)

    if tables.is_shown(advance):
        threading.Thread(target=count, name="stepaudio-cas counting", daemon=True).start()
    try:
        yield
    finally:
        over.set()


class _Report:
    """What came of it. Failures are kept, the rest is counted: there may be a million."""

    def __init__(self, as_document: bool, voices: Search) -> None:
        self._document = as_document
        self._voices = voices
        self._lines = not as_document and not tables.on_terminal()
        self._counts: Counter[str] = Counter()
        self._failed: list[Outcome] = []
        self._encoding = 0.0
        self._started = time.perf_counter()
        self.interrupted = False
        self.unwritten = 0

    def add(self, voice: Voice, outcome: Outcome | Lost) -> None:
        if isinstance(outcome, Lost):
            outcome = Outcome(voice.label, FAILED, outcome.why)
        self._counts[outcome.state] += 1
        self._encoding += outcome.seconds if outcome.state == NEW else 0.0
        if outcome.state == FAILED:
            self._failed.append(outcome)
        if self._lines:
            tables.line({"voice": outcome.label, **_facts(outcome)})

    def finish(self) -> int:
        """Say it, and return the exit code."""
        seconds = time.perf_counter() - self._started
        if self._document:
            tables.document(self._as_document(seconds))
        elif not self._lines and self._failed:
            tables.rows(("VOICE", "WHY IT FAILED"), [(f.label, f.why) for f in self._failed])
        if not self._document:
            _say(self._summary(seconds))
        for trouble in self._voices.troubles:
            _say(f"not looked at: {trouble}")
        if self.unwritten:
            _say("not everything was written to the slower stores; run it again, or cas-tool sync")
        if self.interrupted:
            return INTERRUPTED
        return FOUND if self._failed or self.unwritten or self._voices.troubles else FINE

    def _summary(self, seconds: float) -> str:
        counts = self._counts
        text = f"{counts[NEW]} new, {counts[THERE]} already there, {counts[FAILED]} failed"
        others = self._voices.others
        text += f"; {others} other file{'s' * (others != 1)} left out" if others else ""
        stopped = "; stopped early" if self.interrupted else ""
        return f"{text}; in {show_seconds(seconds)}{stopped}"

    def _as_document(self, seconds: float) -> dict[str, Any]:
        return {
            **{state: self._counts[state] for state in (NEW, THERE, FAILED)},
            "failures": [{"voice": f.label, "why": f.why} for f in self._failed],
            "left_out": list(self._voices.left_out),
            "left_out_not_named": self._voices.others - len(self._voices.left_out),
            "not_looked_at": list(self._voices.troubles),
            "seconds": round(seconds, 3),
            "encode_seconds": round(self._encoding, 3),
            "interrupted": self.interrupted,
        }


def _facts(outcome: Outcome) -> dict[str, Any]:
    facts: dict[str, Any] = {"state": outcome.state, "keys": list(outcome.keys)}
    if outcome.why:
        facts["why"] = outcome.why
    return {**facts, "seconds": round(outcome.seconds, 3)}


def _pin(backend: Backend, key: str, label: str) -> object:
    return pin(backend, key, label=label)


def _say(text: str) -> None:
    with contextlib.suppress(OSError):
        print(tables.clean(text), file=sys.stderr)  # noqa: T201 - a tool talks
