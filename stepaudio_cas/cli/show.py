"""`cas-tool show`: one entry, and how it came to be."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from stepaudio_cas.cli import filters, tables
from stepaudio_cas.cli.codes import FINE, FOUND
from stepaudio_cas.cli.stores import open_first
from stepaudio_cas.errors import SettingError
from stepaudio_cas.identity.digest import is_digest
from stepaudio_cas.maintenance.documents import moment, whole
from stepaudio_cas.maintenance.selection import wanted
from stepaudio_cas.units import show_bytes, show_seconds

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping


def configure(parser: argparse.ArgumentParser) -> None:
    """Add what comes after `show`."""
    parser.description = (
        "Show entries of the first store: what they are, of which recording, computed when, by\n"
        "what model and software, and whether the object is whole."
    )
    parser.epilog = (
        "example:\n  cas-tool show 0d5f1b0a3f5c\n  cas-tool show anna.wav --json\n\n"
        "exit codes: 0 whole, 1 damaged or not there"
    )
    filters.add_words(parser, "a key, how one begins, or a voice, which may be a glob")


def main(options: argparse.Namespace) -> int:
    """Show each."""
    words = filters.words(options)
    if not words:
        raise SettingError("show what? Give keys or voices; cas-tool ls lists them")
    store = open_first(options)
    drawn = tables.on_terminal() and not options.json
    meant = wanted(store.backend, words=words, timed=True)
    code, first = FINE, True
    for kept in meant.entries(store.backend, store.signer):
        said = whole(store, kept)
        if drawn:
            if not first:
                tables.say()
            _draw(said)
        else:
            tables.line(said)
        code, first = FOUND if said["damage"] else code, False
    return code


def _draw(said: Mapping[str, Any]) -> None:
    tables.say(said["key"], style="bold")
    damage = said["damage_detail"]
    if damage:
        tables.field("damaged", f"{damage}; cas-tool verify --repair", style="red")
    ago = tables.age(time.time() - moment(said["used"]))
    tables.field("last used", f"{said['used']}, {ago} ago")
    if said["pin"] is not None:
        pin = said["pin"]
        text = " ".join(filter(None, ("since", pin["since"]))) if pin["since"] else "yes"
        tables.field("pinned", text + (f", as {pin['label']}" if pin["label"] else ""))
    if "codec" in said:
        _draw_manifest(said)


def _draw_manifest(said: Mapping[str, Any]) -> None:
    field = tables.field
    if said["voice"]:
        field("voice", said["voice"])
    field("computes", said["schema"])
    if said["plugin"] not in {"", said["schema"]}:
        field("plugin", said["plugin"])
    field("created", said["created"])
    repeats = "" if said["deterministic"] else "; each encode gives another result"
    field("encode", f"{show_seconds(said['encode_seconds'])}{repeats}")
    state = "" if said["damage"] else ", whole"
    field("object", said["object"])
    field("", f"{show_bytes(said['object_size'])}, {said['codec']}{state}")
    _draw_content(said["content"])
    for name, item in said["inputs"].items():
        field(f"input {name}", _flat(item))
    if said["audio_seconds"] is not None:
        field("audio", show_seconds(said["audio_seconds"]))
    for title in ("params", "producer", "extra"):
        if said[title]:
            field(title, _flat(said[title]))
    _draw_model(said)


def _draw_content(content: Any) -> None:
    if isinstance(content, dict) and set(content) == {"tokens"}:
        counts = ", ".join(f"{name} {number:,}" for name, number in content["tokens"].items())
        tables.field("tokens", counts)
    elif content is not None:
        tables.field("content", _flat(content))


def _draw_model(said: Mapping[str, Any]) -> None:
    if not said["model"]:
        return
    tables.field("model", said["model"])
    document = said["fingerprint"]
    if document is None:
        tables.field("", "its fingerprint is not in this store, or damaged")
        return
    for title in ("files", "settings", "source", "runtime"):
        parts = document.get(title)
        if isinstance(parts, dict):
            for name, value in parts.items():
                tables.field(title if name == next(iter(parts)) else "", f"{name}: {_flat(value)}")


def _flat(value: Any) -> str:
    """Write a small JSON value in one line, without its outer brackets."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {_inner(item)}" for name, item in value.items())
    return _inner(value)


def _inner(value: Any) -> str:
    if is_digest(value):
        return f"{value[:16]}…"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
