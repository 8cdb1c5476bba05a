"""`cas-tool explain`: what keys are made of, and why one missed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from stepaudio_cas.cli import entries, filters, hosts, tables
from stepaudio_cas.cli.codes import FINE, FOUND
from stepaudio_cas.cli.stores import open_first, open_stores
from stepaudio_cas.errors import CasError, Damaged, SettingError
from stepaudio_cas.maintenance import explain
from stepaudio_cas.maintenance.documents import about, at, difference
from stepaudio_cas.maintenance.explain import Known, Nearest
from stepaudio_cas.maintenance.inventory import manifests
from stepaudio_cas.maintenance.selection import wanted
from stepaudio_cas.prewarm.encode import Described, Keys, find_keys
from stepaudio_cas.prewarm.voices import Voice, find
from stepaudio_cas.prewarm.workers import Lost, Workers
from stepaudio_cas.store.layout import SHARDS

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from stepaudio_cas.artifact.manifest import Manifest
    from stepaudio_cas.store.store import Store

_NO_KEY: Final = "passed through"
_THERE: Final = "there"
_MISSING: Final = "not there"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add what comes after `explain`."""
    parser.description = (
        "Say why something missed. Of one entry: what its key is made of. Of two: which\n"
        "ingredient differs. Of recordings, with --host: which keys the host would ask for,\n"
        "whether they are there, and if not, how they differ from the nearest ones that are."
    )
    parser.epilog = hosts.epilog(
        "cas-tool explain anna.wav --host 'stepaudio:/app?model=/models'\n"
        "  cas-tool explain 0d5f1b0a3f5c 7661ee7a7cf6\n\n"
        "exit codes: 0 explained, and there; 1 not there"
    )
    filters.add_words(parser, "a key, how one begins, or a voice; with --host, recordings")
    hosts.add(parser, required=False)


def main(options: argparse.Namespace) -> int:
    """Explain."""
    words = filters.words(options)
    if not words:
        raise SettingError("explain what? Give one key or two, or a recording and --host")
    if options.host is not None:
        return _explain_voices(options, words)
    if len(words) > 2:
        raise SettingError("explain compares two; for recordings, say --host")
    store = open_first(options)
    found = [_entries(store, word) for word in words]
    if len(found) == 1:
        said = [_made_of(explain.known(store.backend, manifest)) for manifest in found[0]]
        return _write(options, said, _draw_made_of)
    said = [_compared(store, a, b) for a, b in _pairs(*found)]
    return _write(options, said, _draw_compared)


def _entries(store: Store, word: str) -> list[Manifest]:
    meant = wanted(store.backend, words=[word])
    found = list(meant.entries(store.backend, store.signer))
    meant.check()
    readable = [kept.manifest for kept in found if kept.manifest is not None]
    if not readable:
        damage = next((str(kept.damage) for kept in found), "it has been removed")
        raise CasError(f"{word} cannot be read: {damage}; cas-tool verify")
    return sorted(readable, key=lambda manifest: (manifest.created, manifest.key))


def _pairs(a: list[Manifest], b: list[Manifest]) -> list[tuple[Manifest, Manifest]]:
    """Compare like with like, the newest of each; with nothing alike, what there is."""
    ones, others = ({explain.method_of(m): m for m in side} for side in (a, b))
    common = [(ones[method], others[method]) for method in ones if method in others]
    return common or [(a[-1], b[-1])]


def _made_of(one: Known) -> dict[str, Any]:
    parts = [
        {"part": part, "name": name, "value": value}
        for part, name, value in explain.ingredients(one)
    ]
    return {**about(one.manifest), "made_of": parts}


def _compared(store: Store, a: Manifest, b: Manifest) -> dict[str, Any]:
    return difference(explain.known(store.backend, a), explain.known(store.backend, b))


def _explain_voices(options: argparse.Namespace, words: Sequence[str]) -> int:
    stores = open_stores(options)
    search = find(words)
    voices = list(search)
    if search.troubles:
        raise CasError(search.troubles[0])
    if not voices:
        raise SettingError(f"there is no recording in {', '.join(words)}")
    opening = hosts.opening(options, reading=True)
    with Workers[Voice, Keys](opening, find_keys, show=options.verbose) as workers:
        asked = [_heard(voice, keys) for voice, keys in workers.run(voices)]
    where = {call: _where(stores, call) for keys in asked for call in map(_key, keys.calls) if call}
    missing = [c.manifest for k in asked for c in k.calls if c.manifest and not where[_key(c)]]
    nearest = _nearest(stores, missing)
    said = [_voice(stores, keys, where, nearest) for keys in asked]
    _write(options, said, _draw_voice)
    return FINE if all(voice["there"] for voice in said) else FOUND


def _heard(voice: Voice, keys: Keys | Lost) -> Keys:
    return Keys(voice.label, (), keys.why) if isinstance(keys, Lost) else keys


def _key(call: Described) -> str:
    return call.manifest.key if call.manifest is not None else ""


def _where(stores: Sequence[Store], key: str) -> str:
    """Say which store has it; what a store has damaged, a host does not get."""
    for store in stores:
        try:
            if store.read(key, touch=False) is not None:
                return store.url
        except Damaged:
            continue
    return ""


def _nearest(stores: Sequence[Store], missing: Sequence[Manifest]) -> Nearest:
    nearest = Nearest(missing)
    if missing:
        with tables.progress("looking for the nearest") as advance:
            advance(0, total=len(SHARDS) * len(stores))
            for store in stores:
                step = lambda _: advance()  # noqa: E731
                nearest.consider(manifests(store.backend, store.signer, step=step))
    return nearest


def _voice(
    stores: Sequence[Store], keys: Keys, where: dict[str, str], nearest: Nearest
) -> dict[str, Any]:
    calls = [_call(stores, call, where, nearest) for call in keys.calls]
    first = [call for call in calls if not call["within"]]
    there = bool(first) and all(call["state"] == _THERE for call in first)
    return {"voice": keys.label, "there": there, "calls": calls, "trouble": keys.trouble}


def _call(
    stores: Sequence[Store], call: Described, where: dict[str, str], nearest: Nearest
) -> dict[str, Any]:
    said: dict[str, Any] = {"method": call.method, "within": call.within, "why": call.why}
    manifest = call.manifest
    if manifest is None:
        return {**said, "key": None, "state": _NO_KEY, "store": None, "nearest": []}
    store = where[manifest.key]
    said |= {"key": manifest.key, "state": _THERE if store else _MISSING, "store": store or None}
    today = manifest._replace(created=at(time.time()))
    asked = Known(today, explain.read_model(call.document, manifest.fingerprint))
    near = [] if store else nearest.of(manifest.key)
    return {**said, "nearest": [difference(_known(stores, one), asked) for one in near]}


def _known(stores: Sequence[Store], manifest: Manifest) -> Known:
    found = Known(manifest)
    for store in stores:
        found = explain.known(store.backend, manifest)
        if found.model is not None:
            break
    return found


def _write(options: argparse.Namespace, said: list[dict[str, Any]], draw: Any) -> int:
    if options.json:
        tables.document(said)
        return FINE
    for number, one in enumerate(said):
        if not tables.on_terminal():
            tables.line(one)
            continue
        if number:
            tables.say()
        draw(one)
    return FINE


def _title(about: dict[str, Any], *names: str) -> str:
    parts = [about["key"][: entries.DIGITS], *(about[name] for name in names)]
    return "  ".join(filter(None, parts))


def _draw_made_of(said: dict[str, Any]) -> None:
    tables.say(_title(said, "schema", "voice", "created"), style="bold")
    before = ""
    for part in said["made_of"]:
        text = explain.show(part["part"], part["value"])
        name = part["name"] + ": " if part["name"] else ""
        tables.field(part["part"] if part["part"] != before else "", name + text)
        before = part["part"]


def _draw_compared(said: dict[str, Any]) -> None:
    for side in ("from", "to"):
        tables.say(_title(said[side], "schema", "voice", "created"), style="bold")
    if said["same"]:
        tables.say("  they are the same key")
    _draw_differences(said)


def _draw_differences(said: dict[str, Any], indent: str = "  ") -> None:
    for one in said["differences"]:
        tables.say(indent + one["text"])
    if said["hints"]:
        texts = ", ".join(hint["text"] for hint in said["hints"])
        tables.say(f"{indent}not in the key: {texts}", style="dim")


def _draw_voice(said: dict[str, Any]) -> None:
    tables.say(said["voice"], style="bold")
    for call in said["calls"]:
        key = (call["key"] or "")[: entries.DIGITS]
        indent = "    " if call["within"] else "  "
        state = call["state"] if not call["why"] else f"{call['state']}: {call['why']}"
        style = "green" if call["state"] == _THERE else "yellow"
        tables.say(f"{indent}{state}  {call['method']}  {key}", style=style)
        for near in call["nearest"][:1]:
            tables.say(f"{indent}  nearest: {_title(near['from'], 'voice', 'created')}")
            _draw_differences(near, indent + "    ")
        if call["state"] == _MISSING and not call["nearest"]:
            text = "nothing in the store is like it: no such recording, model or file name"
            tables.say(f"{indent}  {text}")
    if said["trouble"]:
        tables.say(f"  the host says: {said['trouble']}", style="red")
