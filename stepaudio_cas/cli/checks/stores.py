"""Whether each store can be read and written, how fast, and what it promises: by using it."""

from __future__ import annotations

import os
import shutil
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from stepaudio_cas.cli.checks.finding import Finding, ok, warning, without_secrets, wrong
from stepaudio_cas.cli.checks.mounts import file_system_of, file_systems
from stepaudio_cas.errors import CasError, SettingError, Unavailable
from stepaudio_cas.runtime.opening import state_folder
from stepaudio_cas.runtime.workers import Workers
from stepaudio_cas.settings import PREFIX, Mode, Settings
from stepaudio_cas.store import layout
from stepaudio_cas.store.local import LocalBackend
from stepaudio_cas.store.memory import MemoryBackend
from stepaudio_cas.store.store import Store
from stepaudio_cas.store.urls import default_root, open_backend
from stepaudio_cas.units import show_bytes, show_seconds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stepaudio_cas.store.backend import Backend
    from stepaudio_cas.store.probe import Capabilities

_NOWHERE: Final = layout.manifest_path("0" * 64)
_LOOKUPS: Final = 5
_PATIENCE: Final = 20
"""A probe is some thirty verbs; it gets this many times the deadline of one."""

_LARGEST_SKEW: Final = 5.0
_LITTLE: Final = 10**9
_REMEDIES: Final = {
    "bucket:": "create it, or mend its name in {main}",
    "credentials:": "look at the keys, the profile or the role; an expired token has to be renewed",
    "not allowed to write": "let this identity put and delete objects there, or set {mode}=ro",
    "not allowed to read": "let this identity get objects and list the bucket: without the right to"
    " list, S3 says this of every voice that is not there yet",
    "dns:": "mend the name in {main}, in the endpoint, or in the name server",
    "tls:": "is it https there? For an authority of your own set AWS_CA_BUNDLE or SSL_CERT_FILE",
    "down:": "start it, or mend the address: is it reachable from here?",
    "timeout:": "is it up, and reachable from here? Hosts leave it alone until it is",
    "region:": "set AWS_REGION to where the bucket is",
    "clock:": "set this machine's clock",
    "busy:": "it is overloaded, or throttles this account",
    "PermissionError": "give the host's user the right to write there, or set {mode}=ro",
    "NotADirectoryError": "name a folder: part of this path is a file",
    "FileExistsError": "name a folder: part of this path is a file",
    "[Errno 30]": "it is mounted read-only: mount it for writing, or set {mode}=ro",
    "[Errno 28]": "the disk is full: make room, or set {size}",
}


def examine(settings: Settings) -> list[Finding]:
    """Use every store of the chain, and look at what surrounds them."""
    findings: list[Finding] = []
    backends: list[Backend] = []
    for url in settings.stores:
        try:
            backend = open_backend(str(default_root()) if url == "default" else url)
        except (SettingError, ValueError) as error:
            text, subject = without_secrets(str(error)), without_secrets(url)
            findings.append(wrong("store.open", text, f"mend {PREFIX}", subject=subject))
            continue
        backends.append(backend)
        findings += _examine(backend, settings)
    if settings.stores:
        findings += _surroundings(settings, backends)
    return findings


def _examine(backend: Backend, settings: Settings) -> Iterator[Finding]:
    url = without_secrets(backend.url)
    workers = Workers("stepaudio-cas doctor")
    patience = _PATIENCE * settings.patience
    try:
        if settings.mode is not Mode.RO:
            found = workers.call(Store(backend).capabilities, patience)
            yield from _writing(backend, found, url)
            if not found.writable:
                return
        seconds = workers.call(lambda: _lookup_seconds(backend), patience)
    except Unavailable as error:
        if error.detail and not error.detail.startswith("after "):  # the store's own words
            text = f"{url} cannot be read: {without_secrets(str(error))}"
            yield wrong("store.read", text, _remedy(str(error)), subject=url)
            return
        text = f"{url} has not answered within {show_seconds(patience)}"
        remedy = "is it up, and reachable from here? Hosts leave it alone until it is"
        yield wrong("store.answers", text, remedy, subject=url)
        return
    except Exception as error:
        said = str(error) if isinstance(error, CasError) else f"{type(error).__name__}: {error}"
        text = f"{url} cannot be read: {without_secrets(said)}"
        yield wrong("store.read", text, _remedy(text), subject=url)
        return
    if settings.mode is Mode.RO:
        yield _reading(backend, url)
    yield _speed(seconds, settings, url)
    if isinstance(backend, LocalBackend):
        yield from _place(backend, settings)
    if isinstance(backend, MemoryBackend) and len(settings.stores) == 1:
        text = f"{url} is forgotten when the process ends"
        yield warning("store.place", text, "name a path or URL as well", subject=url)


def _writing(backend: Backend, found: Capabilities, url: str) -> Iterator[Finding]:
    if not found.writable:
        text = f"{url} cannot be written: {without_secrets(found.error)}"
        yield wrong("store.write", text, _remedy(found.error), subject=url)
        return
    seconds = show_seconds(found.seconds)
    yield ok("store.write", f"{url} can be written and read: {seconds} for both", subject=url)
    if found.create == "atomic":
        yield ok("store.create", f"{url}: of many writers the first one wins", subject=url)
    else:
        text = f"{url} does not create exclusively ({found.create}): two machines that encode one"
        remedy = "use a store that can, or put one in front of it that all machines share"
        text += " voice at the same moment may keep two results"
        yield warning("store.create", text, remedy, subject=url)
    if found.locks:
        yield ok("store.lock", f"{url}: locks work", subject=url)
    elif isinstance(backend, LocalBackend):
        text = f"{url}: locks do nothing here, two processes may encode the same voice at once"
        remedy = "mount it with locking if that matters; results stay right"
        yield warning("store.lock", text, remedy, subject=url)
    if not found.lists:
        text, remedy = f"{url} does not list: no stats, no gc", "allow listing below the prefix"
        yield warning("store.list", text, remedy, subject=url)
    if abs(found.clock_skew) > _LARGEST_SKEW:
        text = f"{url}: its clock is off by {found.clock_skew:+.0f} s against this machine's"
        yield warning("store.clock", text, "synchronise both clocks", subject=url)


def _reading(backend: Backend, url: str) -> Finding:
    if isinstance(backend, LocalBackend) and not os.path.isdir(backend.root):
        text = f"{url} is not there, and {PREFIX}_MODE=ro makes nothing"
        return warning("store.read", text, "is the path right? Is it mounted?", subject=url)
    return ok("store.read", f"{url} can be read; it was not written to", subject=url)


def _remedy(text: str) -> str:
    for sign, remedy in _REMEDIES.items():
        if sign in text:
            return remedy.format(main=PREFIX, mode=f"{PREFIX}_MODE", size=f"{PREFIX}_MAX_SIZE")
    return "see that the place is there, reachable from here, and that credentials are right"


def _lookup_seconds(backend: Backend) -> float:
    """Time a look-up of what is not there, as a miss makes one."""
    times = []
    for _ in range(_LOOKUPS):
        started = time.perf_counter()
        backend.get(_NOWHERE)
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def _speed(seconds: float, settings: Settings, url: str) -> Finding:
    text = f"{url}: a look-up takes {show_seconds(seconds)}"
    deadline = f"{PREFIX}_DEADLINE is {show_seconds(settings.patience)}"
    if seconds >= settings.patience:
        remedy = "bring the store nearer, or raise the deadline"
        return wrong("store.speed", f"{text}; {deadline}: none is waited for", remedy, subject=url)
    if seconds >= settings.patience / 4:
        remedy = "bring the store nearer, put a local path before it, or raise the deadline"
        return warning("store.speed", f"{text}; {deadline}", remedy, subject=url)
    return ok("store.speed", text, subject=url)


def _place(backend: LocalBackend, settings: Settings) -> Iterator[Finding]:
    url, kind = backend.url, file_system_of(backend.root, file_systems())
    if kind in {"tmpfs", "ramfs"}:
        text = f"{url} is on {kind}: in memory, and gone when the machine or container restarts"
        yield warning("store.place", text, "use a folder on a disk or volume", subject=url)
    elif kind == "overlay":
        text = f"{url} is in the container itself, and gone when that is replaced"
        yield warning("store.place", text, "mount a volume, and name a folder in it", subject=url)
    there = _existing(backend.root)
    free = shutil.disk_usage(there).free
    name, text = "store.space", f"{url}: {show_bytes(free)} free"
    bound = settings.max_size
    if bound is not None and free < bound:
        used = sum(entry.size for entry in backend.everything(layout.VERSION))
        if free + used < bound:
            text += f", {show_bytes(used)} used; {PREFIX}_MAX_SIZE is {show_bytes(bound)}"
            remedy = f"the disk is full before that: at most {show_bytes(free + used)} will fit"
            yield warning(name, text, remedy, subject=url)
            return
    if free < _LITTLE:
        yield warning(name, text, f"make room, or set {PREFIX}_MAX_SIZE", subject=url)
    else:
        limit = f"; kept below {show_bytes(bound)}" if bound is not None else ""
        yield ok(name, text + limit, subject=url)


def _surroundings(settings: Settings, backends: list[Backend]) -> Iterator[Finding]:
    bounds = [n for n in ("max_size", "ttl") if getattr(settings, n) is not None]
    if bounds and not any(isinstance(backend, LocalBackend) for backend in backends):
        names = " and ".join(f"{PREFIX}_{name.upper()}" for name in bounds)
        text = f"{names} has no effect: it is for a local store, and there is none"
        yield warning("setting.bound", text, "use cas-tool gc for other stores")
    folder = str(state_folder(settings, settings.mode, backends))
    there = _existing(folder)
    if os.path.isdir(there) and os.access(there, os.W_OK | os.X_OK):
        yield ok("state", f"digests of model files are remembered in {folder}")
    else:
        text = f"{folder} cannot be written: model files are read again at every start"
        yield wrong("state", text, f"set {PREFIX}_STATE to a folder that can")


def _existing(path: str) -> Path:
    """Return the nearest folder above that is there."""
    found = Path(path)
    while not os.path.exists(found) and found != found.parent:
        found = found.parent
    return found
