"""See it: an HTTP API over a store and the process that uses it, a page, events and metrics.

`router` is for an app of FastAPI that is there already; `make_app` makes one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stepaudio_cas.web.application import app, make_app, router

__all__ = ["app", "make_app", "router"]


def __getattr__(name: str) -> Any:
    """Import FastAPI when something of ours that needs it is asked for, and not before."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from stepaudio_cas.web import application as module  # noqa: PLC0415 - heavy

    return getattr(module, name)
