"""A panel for apps of Gradio: `with gr.Blocks(): cas_panel()`.

`STEPAUDIO_CAS_PANEL` puts the same at the foot of an app that nobody edits. It only shows: nothing
can be changed from it. Whoever sees the app's page sees it.
"""

from __future__ import annotations

import inspect
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from stepaudio_cas.errors import SettingError
from stepaudio_cas.settings import read_settings
from stepaudio_cas.web.panel import FIGURES, TIERS, Panel
from stepaudio_cas.web.source import of_cache, of_process

if TYPE_CHECKING:
    from stepaudio_cas.runtime.cache import Cache
    from stepaudio_cas.web.observer import Observer
    from stepaudio_cas.web.source import Source

CLASS: Final = "stepaudio-cas-panel"
EVERY: Final = 2.0

_panels: dict[tuple[Cache | None, bool], Panel] = {}


def cas_panel(cache: Cache | None = None, *, every: float = EVERY, voices: bool = True) -> Any:
    """Put the figures of a cache and a log of its hits and misses here; return the `gr.Column`.

    Without `cache`, it is the one that plugins use in this process, or else the stores that the
    environment names. It is refreshed every so many seconds while the page is open. Without
    `voices`, the log has no names of recordings.
    """
    gr = import_module("gradio")
    with gr.Column(elem_classes=[CLASS]) as column:
        look, shown, _ = _put(gr, _panel(cache, voices=voices), every, active=True)
        gr.on(None, look, None, shown, **_quietly(gr))
    return column


def cas_accordion(*, every: float = EVERY, voices: bool = True) -> Any:
    """Do the same within an accordion that is closed at first, and asks nothing while it is."""
    gr = import_module("gradio")
    with gr.Accordion("Voice cache", open=False, elem_classes=[CLASS]) as accordion:
        panel = _panel(None, voices=voices)
        look, shown, timer = _put(gr, panel, every, active=False)
    quietly = _quietly(gr)
    gr.on([accordion.expand], look, None, shown, **quietly)
    gr.on([accordion.expand], lambda: gr.Timer(active=True), None, timer, **quietly)
    gr.on([accordion.collapse], lambda: gr.Timer(active=False), None, timer, **quietly)
    return accordion


def attach(blocks: Any, *, voices: bool) -> None:
    """Put the accordion at the foot of an app that is about to be served, unless it has a panel.

    An app of several pages has one on each. If that fails, the app is what it was.
    """
    context = import_module("gradio.context")
    if any(CLASS in (block.elem_classes or ()) for block in _laid_out(blocks)):
        return
    children, config = list(blocks.children), blocks.default_config
    known, functions = set(config.blocks), set(config.fns)
    root, place = context.Context.root_block, context.get_render_context()
    current = getattr(blocks, "current_page", "")
    context.Context.root_block = blocks
    context.set_render_context(blocks)
    try:
        for page in getattr(blocks, "pages", [("",)]):
            blocks.current_page = page[0]
            cas_accordion(voices=voices)
        blocks.config = blocks.get_config_file()
    except BaseException:
        blocks.children = children
        for there, before in ((config.blocks, known), (config.fns, functions)):
            for number in set(there) - before:
                del there[number]
        raise
    finally:
        blocks.current_page = current
        context.Context.root_block = root
        context.set_render_context(place)


def _laid_out(blocks: Any) -> list[Any]:
    return [block for block in blocks.blocks.values() if hasattr(block, "elem_classes")]


def _put(gr: Any, panel: Panel, every: float, *, active: bool) -> tuple[Any, list[Any], Any]:
    """Lay it out; return what looks, what that fills, and what asks for it again and again."""
    with gr.Row():
        figures = [gr.Textbox("", label=name, interactive=False, min_width=110) for name in FIGURES]
    tiers = gr.Dataframe([], headers=list(TIERS), label="Tiers", interactive=False, wrap=True)
    log = gr.Textbox("", label="Log", lines=8, max_lines=8, interactive=False)
    with gr.Row(equal_height=True):
        status = gr.Textbox(
            "", label="State", lines=2, max_lines=2, scale=4,
            show_label=False, container=False, interactive=False,
        )  # fmt: skip
        again = gr.Button("Refresh", size="sm", scale=1)
    timer = gr.Timer(every, active=active)
    shown = [*figures, tiers, status, log]

    async def look() -> tuple[Any, ...]:
        view = await panel.look()
        return (*view.figures, view.tiers, view.status, view.log)

    gr.on([timer.tick, again.click], look, None, shown, **_quietly(gr))
    return look, shown, timer


def _quietly(gr: Any) -> dict[str, Any]:
    """Say how a function of ours is no part of the app's API, of its queue or of its looks."""
    hidden: dict[str, Any] = {"api_name": False, "show_api": False}
    if "api_visibility" in inspect.signature(gr.on).parameters:  # from Gradio 6 on
        hidden = {"api_visibility": "private"}
    return {"queue": False, "show_progress": "hidden", **hidden}


def _panel(cache: Cache | None, *, voices: bool) -> Panel:
    """Return the one panel of a cache: however often it is shown, it listens once."""
    found = _panels.get((cache, voices))
    if found is None:

        def source(observer: Observer) -> Source:
            return _own(observer) if cache is None else _of(cache, observer)

        found = _panels[cache, voices] = Panel(source, voices=voices)
    return found


def _of(cache: Cache, observer: Observer) -> Source:
    cache.recorder.listen(observer)
    return of_cache(cache, read_settings()[0], observer)


def _own(observer: Observer) -> Source:
    settings, _ = read_settings()
    if not settings.enabled:
        raise SettingError("STEPAUDIO_CAS is not set: set it to a store, and restart")
    return of_process(settings, observer)
