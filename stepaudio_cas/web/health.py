"""Whether everything is in order, each thing with its reason."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from stepaudio_cas.prewarm.state import STOPPED
from stepaudio_cas.store import layout
from stepaudio_cas.units import show_seconds
from stepaudio_cas.web.prewarming import ALIVE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from stepaudio_cas.store.store import Store
    from stepaudio_cas.web.source import Source


def health(source: Source, watched: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Ask every store for something small, every breaker, everybody who watches."""
    checks = [_store(name, store) for name, store in source.named]
    checks += _breakers(source)
    checks += [_watcher(one) for one in watched if one["status"] != STOPPED]
    healthy = all(check["ok"] for check in checks)
    return {"healthy": healthy, "time": round(time.time(), 3), "checks": checks}


def _check(name: str, ok: bool, detail: str) -> dict[str, Any]:
    return {"name": name, "ok": ok, "detail": detail}


def _store(name: str, store: Store) -> dict[str, Any]:
    began = time.perf_counter()
    try:
        store.backend.stat(layout.manifest_path("0" * 64))
    except Exception as error:
        detail = f"{store.url} does not answer: {type(error).__name__}: {error}"
        return _check(f"store {name}", ok=False, detail=detail)
    took = show_seconds(time.perf_counter() - began)
    return _check(f"store {name}", ok=True, detail=f"{store.url} answers in {took}")


def _breakers(source: Source) -> Iterator[dict[str, Any]]:
    for tier in source.cache.chain.tiers if source.cache is not None else ():
        state = tier.state()
        verbs = ("reading", "writing", "locking")
        troubles = [f"{verb} is {state[verb]}" for verb in verbs if state[verb] != "closed"]
        detail = "; ".join(troubles) or "closed"
        yield _check(f"breaker {tier.name}", ok=not troubles, detail=detail)


def _watcher(one: Mapping[str, Any]) -> dict[str, Any]:
    detail = str(one["status"])
    with suppress(KeyError, TypeError, ValueError):
        detail += f", last heard of {show_seconds(float(one['silent']))} ago"
    if one.get("trouble"):
        detail += f": {one['trouble']}"
    well = one["status"] in ALIVE and not one.get("trouble")
    return _check(f"prewarm {one['folder']}", ok=well, detail=detail)
