"""From settings to a working cache."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stepaudio_cas.artifact.signing import Signer
from stepaudio_cas.errors import SettingError
from stepaudio_cas.identity.files import FileDigests
from stepaudio_cas.runtime.background import Background
from stepaudio_cas.runtime.cache import Cache
from stepaudio_cas.runtime.chain import Chain
from stepaudio_cas.runtime.housekeeping import Housekeeping
from stepaudio_cas.runtime.keeper import Keeper
from stepaudio_cas.runtime.log import Log
from stepaudio_cas.runtime.memory import MemoryTier
from stepaudio_cas.runtime.recorder import Recorder
from stepaudio_cas.runtime.shadow import Shadow
from stepaudio_cas.runtime.tier import Tier
from stepaudio_cas.settings import Mode, Settings, read_settings, split_stores
from stepaudio_cas.store import layout
from stepaudio_cas.store.local import LocalBackend
from stepaudio_cas.store.store import Store
from stepaudio_cas.store.urls import default_root, open_backend

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from stepaudio_cas.store.backend import Backend


def open_cache(url: str | os.PathLike[str] | None = None, **overrides: Any) -> Cache:
    """Open the cache that the environment describes, or one at `url`.

    `url` is what `STEPAUDIO_CAS` may be: a path, a URL, or several with commas, fastest first.
    `overrides` replace other settings by their field names, such as `mode="ro"` or
    `memory="64MB"`. What the environment has wrong is said on stderr and left out; what the
    arguments have wrong raises `SettingError`.
    """
    settings, problems = read_settings()
    log = Log(settings.log)
    for problem in problems:
        log.error(str(problem))
    try:
        settings = settings.override(**overrides)
        if url is not None:
            settings = replace(settings, stores=split_stores(str(url)))
    except ValueError as error:
        raise SettingError(str(error)) from None
    return build_cache(settings, strict=url is not None)


def build_cache(settings: Settings, *, strict: bool = False) -> Cache:
    """Put a cache together.

    A store that cannot be opened is said and left out; with `strict` it raises `SettingError`.
    """
    recorder = Recorder(Log(settings.log))
    backends: list[Backend] = []
    mode, signer = settings.mode, None
    try:
        signer = _signer(settings)
        backends = _open_all(settings.stores if settings.enabled else (), recorder, strict=strict)
    except SettingError as error:
        if strict:
            raise
        recorder.log.error(f"{error}; nothing is cached until this is mended")
        mode = Mode.OFF
    tiers = [
        Tier(
            name,
            Store(backend, signer=signer),
            recorder,
            deadline=settings.deadline,
            writable=mode in {Mode.RW, Mode.REFRESH},
        )
        for name, backend in _named(backends)
    ]
    background = Background()
    memory = MemoryTier(settings.memory if backends else 0)
    chain = Chain(memory, tiers, recorder, background, overwrite=mode is Mode.REFRESH)
    return Cache(
        chain,
        recorder,
        mode=mode,
        shadow=Shadow(settings.verify, recorder),
        housekeeping=Housekeeping(chain, background, recorder, _keeper(settings, tiers, recorder)),
        files=FileDigests(state_folder(settings, mode, backends) / "files.sqlite"),
        strictness=settings.fingerprint,
    )


def _signer(settings: Settings) -> Signer | None:
    """Read the signing key. Without it nothing may be read: unsigned entries would be trusted."""
    path = settings.signing_key_file
    return Signer.from_file(path) if path is not None else None


def _open_all(urls: Sequence[str], recorder: Recorder, *, strict: bool) -> list[Backend]:
    backends = []
    for url in urls:
        try:
            backends.append(open_backend(str(default_root()) if url == "default" else url))
        except SettingError as error:
            if strict:
                raise
            recorder.error("setting", f"STEPAUDIO_CAS: {error}; this store is left out")
        except Exception as error:
            if strict:
                raise SettingError(f"{url}: {error}") from error
            recorder.error("setting", f"STEPAUDIO_CAS: {url} cannot be opened: {error}")
    return backends


def _named(backends: Sequence[Backend]) -> list[tuple[str, Backend]]:
    """Name each tier by its scheme, and by a number where two are alike."""
    named: list[tuple[str, Backend]] = []
    seen: Counter[str] = Counter()
    for backend in backends:
        scheme = backend.url.partition("://")[0]
        name = {"file": "disk", "memory": "ram"}.get(scheme, scheme)
        seen[name] += 1
        dash = "-" if name[-1:].isdigit() else ""
        named.append((name if seen[name] == 1 else f"{name}{dash}{seen[name]}", backend))
    return named


def _keeper(settings: Settings, tiers: Sequence[Tier], recorder: Recorder) -> Keeper | None:
    for tier in tiers:
        backend = tier.store.backend
        if tier.writable and isinstance(backend, LocalBackend):
            return Keeper(backend, recorder, max_size=settings.max_size, ttl=settings.ttl)
    return None


def state_folder(settings: Settings, mode: Mode, backends: Sequence[Backend]) -> Path:
    """Return where this machine keeps what it can work out again: in the operator's own volume.

    A store that may only be read is left untouched.
    """
    if settings.state is not None:
        return Path(settings.state).expanduser()
    for backend in backends if mode is not Mode.RO else ():
        if isinstance(backend, LocalBackend):
            return Path(backend.root, layout.STATE)
    return default_root() / layout.STATE
