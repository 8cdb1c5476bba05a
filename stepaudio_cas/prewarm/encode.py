"""One voice through a host: encoded and pinned, or its keys found."""

from __future__ import annotations

import errno
import tempfile
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from stepaudio_cas.artifact.manifest import Manifest, open_manifest
from stepaudio_cas.prewarm.shelf import Shelf
from stepaudio_cas.prewarm.voices import at_hand
from stepaudio_cas.runtime import attended
from stepaudio_cas.runtime.provenance import producer
from stepaudio_cas.store import layout

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stepaudio_cas.prewarm.voices import Voice
    from stepaudio_cas.runtime.attended import Asked
    from stepaudio_cas.store.backend import Backend
    from stepaudio_cas.store.store import Store

NEW: Final = attended.NEW
THERE: Final = attended.THERE
FAILED: Final = "failed"
FIRST: Final = "the first store"
_NO_OBJECT: Final = "0" * 64
_FULL: Final = {errno.ENOSPC, errno.EDQUOT}

Pin = Callable[["Backend", str, str], object]
"""Pins a key on a backend, under a label."""


class Host(Protocol):
    """A host that has been loaded."""

    @property
    def stores(self) -> list[Store]:
        """Where new voices go, fastest first."""

    def make(self, path: str, label: str) -> tuple[list[Asked], str]:
        """Have it encode a recording; return the calls it made, and what stopped it."""

    def key(self, path: str) -> tuple[list[Asked], str]:
        """Find the keys it asks for; return the calls, and what stopped it."""

    def again(self) -> None:
        """Ask stores again that have failed."""

    def close(self) -> bool:
        """Finish what is under way; return whether everything was written."""


class Patient(Host, Protocol):
    """A host that can wait until all stores have what it has made."""

    def settle(self) -> bool:
        """Wait for what is written in the background; return whether all of it was."""


class Outcome(NamedTuple):
    """What became of a voice: `new`, `there` or `failed`, and `why`; the keys it has.

    `store` is what did not take it, if that is why: nothing is known to be wrong with the voice.
    """

    label: str
    state: str
    why: str = ""
    keys: tuple[str, ...] = ()
    seconds: float = 0.0
    store: str = ""


class _Refused(Exception):  # noqa: N818 - it is passed on as an outcome
    """A store did not do its part; `unsaid`: it is not known what kept it from that."""

    def __init__(self, store: str, why: str, *, unsaid: bool = False) -> None:
        super().__init__(why)
        self.store, self.unsaid = store, unsaid


class Described(NamedTuple):
    """A call that the host would make: the manifest it would have, and its model's fingerprint.

    A call that is passed through has no manifest; `why` says the reason. `within` is the method
    that makes this call only if it is not there itself.
    """

    method: str
    manifest: Manifest | None
    document: bytes = b""
    why: str = ""
    within: str = ""


class Keys(NamedTuple):
    """What the host would ask for when it is given a voice, and what kept us from knowing more."""

    label: str
    calls: tuple[Described, ...]
    trouble: str = ""


class Encoding:
    """Encodes voices. It is handed to other processes, so it holds nothing that stays here."""

    def __init__(
        self,
        pin: Pin | None = None,
        *,
        whole: bool = False,
        apart: bool = False,
        copies: str | None = None,
        patient: bool = False,
    ) -> None:
        """With `whole`, or a `pin`, `keys` has all that a voice has, also within what is there.

        With `apart`, the host is given a copy of a file that may be written to meanwhile; `copies`
        is the folder for these. With `patient`, stores that have failed are not left alone for a
        while: whoever gives us the next voice has waited until they are back.
        """
        self._pin, self._whole, self._apart = pin, whole or pin is not None, apart
        self._copies, self._patient, self._refused = copies, patient, False

    def __call__(self, host: Host, voice: Voice) -> Outcome:
        """Encode one voice, unless it is there. A failure is an outcome like the others."""
        started, store = time.perf_counter(), ""
        if self._patient and self._refused:
            host.again()
        try:
            with at_hand(voice, apart=self._apart, copies=self._copies) as path:
                calls, trouble = host.make(path, voice.label)
                state, why = _judge(host, calls, trouble)
                keys = _keys(calls)
                if self._whole and any(call.composed and call.state == THERE for call in calls):
                    keys += _keys_within(host, path, keys)
            if state != FAILED and self._pin is not None:
                self._pin_all(host, keys, voice.label)
        except _Refused as error:
            state, why, keys, store = FAILED, str(error), (), error.store
            if error.unsaid and not self._patient:  # nobody else finds out what is wrong
                why = f"{why} in {store}: {_reason(host)}"
        except Exception as error:
            state, why, keys = FAILED, f"{type(error).__name__}: {error}", ()
            if isinstance(error, OSError) and error.errno in _FULL:  # no room for a copy
                store = tempfile.gettempdir()
                why = f"{store} has no room for a copy: {error.strerror}; TMPDIR names another"
        self._refused = bool(store)
        return Outcome(voice.label, state, why, keys, time.perf_counter() - started, store)

    def _pin_all(self, host: Host, keys: Sequence[str], label: str) -> None:
        assert self._pin is not None
        for store in host.stores:
            try:
                for key in keys:
                    self._pin(store.backend, key, label)
            except Exception as error:  # whatever a store raises
                why = f"it is encoded, but cannot be pinned in {store.url}"
                raise _Refused(store.url, f"{why}: {type(error).__name__}: {error}") from error


class Everywhere:
    """Encodes, and calls a voice new when the slower stores have it, too.

    Whoever encodes may be gone a moment later, with the machine it is on.
    """

    def __init__(self, encoding: Encoding) -> None:
        self._encoding = encoding

    def __call__(self, host: Patient, voice: Voice) -> Outcome:
        outcome = self._encoding(host, voice)
        if outcome.state != NEW or len(host.stores) < 2 or host.settle():
            return outcome
        why = "not all of it reached the slower stores; run it again, or cas-tool sync"
        return outcome._replace(state=FAILED, why=why)


def find_keys(host: Host, voice: Voice) -> Keys:
    """Find what the host would ask for, without encoding."""
    try:
        with at_hand(voice) as path:
            calls, trouble = host.key(path)
    except Exception as error:
        return Keys(voice.label, (), f"{type(error).__name__}: {error}")
    return Keys(voice.label, tuple(map(_described, calls)), trouble)


def _judge(host: Host, calls: Sequence[Asked], trouble: str) -> tuple[str, str]:
    if trouble:
        return FAILED, f"the host says: {trouble}"
    passed = {call.method: call.why for call in calls if not call.recipe}
    if passed and all(call.state == attended.BYPASSED for call in calls):
        method, why = next(iter(passed.items()))
        return FAILED, f"{method} is passed through: {why}"
    made = [call for call in calls if call.state == NEW and call.recipe is not None]
    for method in (call.method for call in made if not _stands(host, call)):
        text = f"what {method} returned could not be kept"
        if method in passed:
            return FAILED, f"{text}: {passed[method]}"
        raise _Refused(_first(host), text, unsaid=True)
    return (NEW if made else THERE), ""


def _stands(host: Host, call: Asked) -> bool:
    """Look whether an entry was really written: the cache goes on without, and so we must ask."""
    assert call.recipe is not None
    store = next(iter(host.stores), None)
    if store is None:
        return False
    try:
        return store.backend.stat(layout.manifest_path(call.recipe.key)) is not None
    except Exception as error:
        raise _Refused(store.url, f"{type(error).__name__}: {error}") from error


def _first(host: Host) -> str:
    """Name the store that voices go to; one that has refused to be written to is not among them."""
    return next((store.url for store in host.stores), FIRST)


def _reason(host: Host) -> str:
    """Try a store out that did not take something, and say why."""
    try:
        for store in host.stores[:1]:
            Shelf(store).check()
    except Exception as error:  # whatever a store raises
        return f"{type(error).__name__}: {error}"
    return "see cas-tool doctor"


def _keys(calls: Sequence[Asked]) -> tuple[str, ...]:
    found = (
        call.recipe.key
        for call in calls
        if call.recipe is not None and call.state != attended.ASKED
    )
    return tuple(dict.fromkeys(found))


def _keys_within(host: Host, path: str, known: Sequence[str]) -> tuple[str, ...]:
    """Find the keys of calls that were not made, because the one they are made by was there."""
    calls, _ = host.key(path)
    asked = {call.recipe.key: call for call in calls if call.recipe is not None}
    return tuple(key for key, call in asked.items() if key not in known and _stands(host, call))


def _described(call: Asked) -> Described:
    recipe = call.recipe
    if recipe is None:
        return Described(call.method, None, why=call.why, within=call.within)
    model = recipe.fingerprint
    manifest = Manifest(
        key=recipe.key,
        object=_NO_OBJECT,
        size=0,
        codec="",
        schema=recipe.schema,
        plugin=call.method,
        inputs={
            n: {"kind": i.kind, "digest": i.digest, **i.facts} for n, i in recipe.inputs.items()
        },
        params=recipe.params,
        fingerprint=model.id if model is not None else "",
        producer=producer(),
    )
    as_stored = open_manifest(manifest.seal(), recipe.key)
    document = model.document if model is not None else b""
    return Described(call.method, as_stored, document, within=call.within)
