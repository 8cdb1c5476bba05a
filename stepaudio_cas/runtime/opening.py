"""From settings to a working cache."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from stepaudio_cas.artifact.signing import Signer
from stepaudio_cas.errors import SettingError
from stepaudio_cas.identity.files import FileDigests
from stepaudio_cas.runtime.background import Background
from stepaudio_cas.runtime.budget import Budget
from stepaudio_cas.runtime.cache import Cache
from stepaudio_cas.runtime.chain import Chain
from stepaudio_cas.runtime.housekeeping import Housekeeping
from stepaudio_cas.runtime.keeper import Keeper
from stepaudio_cas.runtime.log import Log
from stepaudio_cas.runtime.memory import MemoryTier
from stepaudio_cas.runtime.prefetch import Prefetch
from stepaudio_cas.runtime.recorder import Recorder
from stepaudio_cas.runtime.shadow import Shadow
from stepaudio_cas.runtime.tier import Tier
from stepaudio_cas.settings import Mode, Settings, read_settings, split_stores
from stepaudio_cas.store import layout
from stepaudio_cas.store.backend import Expiring
from stepaudio_cas.store.local import LocalBackend
from stepaudio_cas.store.store import Store
from stepaudio_cas.store.urls import default_root, is_near, open_backend
from stepaudio_cas.units import lifetimes

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from stepaudio_cas.store.backend import Backend

CacheKind = TypeVar("CacheKind", bound=Cache)


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
    cache = build_kind(Cache, settings, strict=strict)
    if settings.prefetch and cache.enabled:
        cache.prepare()
    return cache


def build_kind(kind: type[CacheKind], settings: Settings, *, strict: bool) -> CacheKind:
    """Put a cache of some kind together, as `build_cache` does."""
    recorder = Recorder(Log(settings.log))
    backends: list[Backend] = []
    mode, signer = settings.mode, None
    try:
        signer = _signer(settings)
        backends = _open_all(settings.stores if settings.enabled else (), recorder, strict=strict)
        expire(backends, settings)
    except SettingError as error:
        if strict:
            raise
        recorder.log.error(f"{error}; nothing is cached until this is mended")
        mode = Mode.OFF
    shared = [b for b in backends if not is_near(b)]
    budget = Budget(settings.deadline, stores=len(shared))
    tiers = [
        Tier(
            name,
            Store(backend, signer=signer),
            recorder,
            deadline=budget.deadline,
            budget=budget,
            writable=mode in {Mode.RW, Mode.REFRESH},
        )
        for name, backend in named(backends)
    ]
    background = Background()
    memory = MemoryTier(settings.memory if backends else 0)
    chain = Chain(memory, tiers, recorder, background, overwrite=mode is Mode.REFRESH)
    return kind(
        chain,
        recorder,
        mode=mode,
        shadow=Shadow(settings.verify, recorder),
        housekeeping=Housekeeping(
            chain,
            background,
            recorder,
            _keeper(settings, tiers, recorder),
            Prefetch(chain, recorder, settings.prefetch) if settings.prefetch else None,
        ),
        files=_files(settings, mode, backends, recorder),
        strictness=settings.fingerprint,
        budget=budget,
    )


def _files(
    settings: Settings, mode: Mode, backends: Sequence[Backend], recorder: Recorder
) -> FileDigests:
    """Open the memory of digests; say it where the operator has chosen a place that fails."""

    def trouble(text: str) -> None:
        recorder.log.error_sometimes(
            "state",
            f"STEPAUDIO_CAS_STATE={settings.state} cannot be used: {text}; model files are read"
            " again at each start until it is a folder that this user may write",
        )

    return FileDigests(
        state_folder(settings, mode, backends) / "files.sqlite",
        trouble=None if settings.state is None else trouble,
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


def expire(backends: Sequence[Backend], settings: Settings) -> None:
    """Tell the time to live to stores that keep it by themselves.

    They know of no plugins: they have the longest of their times, and `gc` is for the others.
    """
    longest = lifetimes(settings.ttl).longest
    for backend in backends:
        if longest is not None and isinstance(backend, Expiring):
            backend.expire_after(longest)


def named(backends: Sequence[Backend]) -> list[tuple[str, Backend]]:
    """Name each tier by its scheme, and by a number where two are alike."""
    named: list[tuple[str, Backend]] = []
    seen: Counter[str] = Counter()
    for backend in backends:
        scheme = backend.url.partition("://")[0]
        name = {"file": "disk", "memory": "ram", "rediss": "redis"}.get(
            scheme, scheme.partition("+")[0]
        )
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
