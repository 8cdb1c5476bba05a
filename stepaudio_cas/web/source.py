"""What is served: the stores, and the cache of this process if there is one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from stepaudio_cas.activation.finder import installed
from stepaudio_cas.activation.session import shared_cache
from stepaudio_cas.artifact.signing import Signer
from stepaudio_cas.errors import SettingError
from stepaudio_cas.prewarm import state
from stepaudio_cas.runtime.opening import expire, named
from stepaudio_cas.settings import PREFIX, Mode, Settings
from stepaudio_cas.store.store import Store
from stepaudio_cas.store.urls import default_root, is_near, open_backend

if TYPE_CHECKING:
    from stepaudio_cas.runtime.cache import Cache
    from stepaudio_cas.web.observer import Observer


@dataclass(frozen=True)
class Source:
    """Stores, fastest first. `cache` and `observer` are there inside a host only."""

    stores: list[Store]
    settings: Settings
    cache: Cache | None = None
    observer: Observer | None = None
    states: str = field(default_factory=state.default_folder)

    @property
    def first(self) -> Store:
        """The store that listings and changes are about, as those of `cas-tool` are."""
        return self.stores[0]

    @property
    def writable(self) -> bool:
        """Whether the mode lets us change anything."""
        return self.settings.mode in {Mode.RW, Mode.REFRESH}

    @property
    def near(self) -> bool:
        """Whether all stores are on this machine, where looking costs no money."""
        return all(is_near(store.backend) for store in self.stores)

    @property
    def named(self) -> list[tuple[str, Store]]:
        """Name each store as its tier is named."""
        names = (name for name, _ in named([store.backend for store in self.stores]))
        return list(zip(names, self.stores, strict=True))

    def forget(self, keys: list[str] | None) -> None:
        """Have the memory of this process drop entries that were removed; None is all of them."""
        memory = self.cache.chain.memory if self.cache is not None else None
        if memory is None:
            return
        if keys is None:
            memory.clear()
        for key in keys or ():
            memory.drop(key)


def of_cache(cache: Cache, settings: Settings, observer: Observer) -> Source:
    """Serve what a host's own cache works with."""
    return Source([tier.store for tier in cache.chain.tiers], settings, cache, observer)


def of_process(settings: Settings, observer: Observer) -> Source:
    """Serve what the plugins of this process use, or else what is set. Raises `SettingError`."""
    if installed() is None:
        return of_settings(settings)
    cache = shared_cache()
    if not cache.chain.tiers:
        raise SettingError(f"{PREFIX}: no store of it can be opened")
    cache.recorder.listen(observer)
    return of_cache(cache, settings, observer)


def of_settings(settings: Settings, *, states: str | None = None) -> Source:
    """Serve the stores that are set. Raises `SettingError`.

    `states` is where those say it who watch folders, if not where they do by default.
    """
    if not settings.stores:
        raise SettingError(f"which store? Give --store URL, or set {PREFIX}")
    path = settings.signing_key_file
    signer = Signer.from_file(path) if path is not None else None
    urls = [str(default_root()) if url == "default" else url for url in settings.stores]
    backends = [open_backend(url) for url in urls]
    expire(backends, settings)
    stores = [Store(backend, signer=signer) for backend in backends]
    return Source(stores, settings, states=states or state.default_folder())
