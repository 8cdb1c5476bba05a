"""`STEPAUDIO_CAS_PANEL`: an accordion at the foot of the host's Gradio app.

Apps are not touched while they are built, but when they are about to be served: one that is part
of another never is. Whatever goes wrong is one line on stderr, and the app is served as it was.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Final

from stepaudio_cas.activation.registry import resolve
from stepaudio_cas.activation.session import say
from stepaudio_cas.settings import read_settings

if TYPE_CHECKING:
    from collections.abc import Mapping

TAILS: Final = frozenset({"blocks"})
_MODULE: Final = "gradio.blocks"
_ATTACHING: Final = "stepaudio_cas.web.gradio:attach"
"""By name, as plugins are: that room stands above this one."""

_MARK: Final = "__stepaudio_cas_panel__"
_SERVING: Final = ("launch", "validate_queue_settings")
"""Methods that are called when an app is served: by itself, or mounted in another."""


def wanted() -> bool:
    """Tell whether the operator asks for it."""
    settings, _ = read_settings()
    return settings.enabled and bool(settings.panel)


def apply(namespace: Mapping[str, Any], module: str) -> None:
    """Look at a module, which may be the one that apps are made of."""
    found = namespace.get("Blocks")
    if module != _MODULE or not isinstance(found, type):
        return
    names = [name for name in _SERVING if callable(vars(found).get(name))]
    if not names:
        say("STEPAUDIO_CAS_PANEL: this version of Gradio is not known: its pages are left alone")
    for name in names:
        original = vars(found)[name]
        if not hasattr(original, _MARK):
            setattr(found, name, _before_serving(original))


def _before_serving(original: Any) -> Any:
    @functools.wraps(original)
    def serve(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        _attach(self)
        return original(self, *args, **kwargs)

    setattr(serve, _MARK, True)
    return serve


def _attach(blocks: Any) -> None:
    """Attach it the first time that this app is served."""
    try:
        if _MARK in vars(blocks):
            return
        vars(blocks)[_MARK] = True
        resolve(_ATTACHING)(blocks, voices=read_settings()[0].panel == "voices")
    except Exception as error:
        say(f"STEPAUDIO_CAS_PANEL: the page is left as it is: {type(error).__name__}: {error}")
