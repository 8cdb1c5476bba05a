"""Why two keys are not the same key: which ingredient differs.

A manifest says what went into a key, for people; the fingerprint it refers to says what the model
was. Both together name the ingredient. What is not in a key (the software that computed it) is
only ever a hint.
"""

from __future__ import annotations

import heapq
import json
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from stepaudio_cas.errors import Damaged
from stepaudio_cas.identity.digest import digest_bytes, is_digest
from stepaudio_cas.maintenance.facts import names
from stepaudio_cas.store import layout
from stepaudio_cas.units import show_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from stepaudio_cas.artifact.manifest import Manifest
    from stepaudio_cas.maintenance.inventory import Kept
    from stepaudio_cas.store.backend import Backend

NEAREST: Final = 3
"""How many entries are looked at for one that is not there."""

_LARGEST: Final = 16 << 20
_SHOWN: Final = 8
_LONGEST: Final = 60
_MISSING: Final = object()
_PARTS: Final = {"file": "files", "setting": "settings", "source": "source", "runtime": "runtime"}
_HEADS: Final = {
    "param": "param {name}: ",
    "file": "{name} changed{when}: ",
    "setting": "setting {name}: ",
    "source": "the source of {name} changed{when}: ",
    "runtime": "{name}: ",
    "producer": "{name}: ",
}


class Known(NamedTuple):
    """An entry, or a call that would make one, and what its model is, if that is known."""

    manifest: Manifest
    model: Mapping[str, Any] | None = None


class Difference(NamedTuple):
    """One ingredient that differs. `before` and `after` are what it is on either side."""

    part: str
    name: str
    before: Any
    after: Any
    text: str


def known(backend: Backend, manifest: Manifest) -> Known:
    """Fetch what there is to know of an entry's model."""
    if not manifest.fingerprint:
        return Known(manifest)
    path = layout.fingerprint_path(manifest.fingerprint)
    try:
        data = backend.get(path, limit=_LARGEST)
    except Damaged:
        data = None
    return Known(manifest, read_model(data, manifest.fingerprint))


def read_model(data: bytes | None, fingerprint: str) -> Mapping[str, Any] | None:
    """Read the description of a model; None if it is not what its name says."""
    if data is None or digest_bytes(data) != fingerprint:
        return None
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def ingredients(one: Known) -> Iterator[tuple[str, str, Any]]:
    """Yield all that a key is made of, as (part, name, value)."""
    manifest, model = one
    yield "method", "", manifest.schema
    for name, item in manifest.inputs.items():
        yield "input", name, item
    for name, value in manifest.params.items():
        yield "param", name, value
    for part, field in _PARTS.items():
        found = (model or {}).get(field)
        for name, value in found.items() if isinstance(found, dict) else ():
            yield part, str(name), value
    if manifest.fingerprint and model is None:
        yield "model", "", manifest.fingerprint


def show(part: str, value: Any) -> str:
    """Write an ingredient for people."""
    if part == "file":
        return _content(value)
    if part == "input" and isinstance(value, dict):
        digest = _value(value.get("digest"))
        return f"{value.get('kind')} {digest} ({_size(value)})"
    return _value(value)


def differences(one: Known, other: Known) -> list[Difference]:
    """Name what differs between two keys, from `one` to `other`; nothing if they are the same."""
    a, b = one.manifest, other.manifest
    if a.key == b.key:
        return []
    found: list[Difference] = []
    if a.schema != b.schema:
        text = f"another method, or version of the plugin: {a.schema} -> {b.schema}"
        found.append(Difference("method", "", a.schema, b.schema, text))
    found += _inputs(a.inputs, b.inputs)
    for name, before, after in _changes(a.params, b.params):
        found.append(_difference("param", name, before, after))
    found += _models(one, other)
    if not found:
        text = (
            "what the manifests show is the same: a parameter differs in its exact type or value,"
            " such as 1 and 1.0"
        )
        found.append(Difference("param", "", None, None, text))
    return found


def hints(one: Known, other: Known) -> list[Difference]:
    """Name what else differs in how the two came to be: it is not in their keys."""
    return [
        _difference("producer", name, before, after)
        for name, before, after in _changes(one.manifest.producer, other.manifest.producer)
    ]


def _inputs(a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[Difference]:
    for name in dict.fromkeys([*a, *b]):
        before, after = _facts(a.get(name)), _facts(b.get(name))
        if before is None or after is None:
            text = f"input {name}: {'only' if before is None else 'not'} in the second"
        elif before.get("digest") == after.get("digest") and before.get("kind") == after.get(
            "kind"
        ):
            continue
        elif before.get("kind") != after.get("kind"):
            text = f"input {name}: {before.get('kind')} -> {after.get('kind')}"
        else:
            sizes = _size(before), _size(after)
            how = "of the same size" if sizes[0] == sizes[1] else f"{sizes[0]} -> {sizes[1]}"
            text = f"input {name}: other content, {how}"
        yield Difference("input", name, before, after, text)


def _facts(item: Any) -> Mapping[str, Any] | None:
    return item if isinstance(item, dict) else None


def _size(facts: Mapping[str, Any]) -> str:
    shape = facts.get("shape")
    if isinstance(shape, list):
        return "shape " + ",".join(map(str, shape))
    size = facts.get("bytes")
    return f"{size:,} bytes" if isinstance(size, int) else "unknown"


def _models(one: Known, other: Known) -> Iterator[Difference]:
    before, after = one.manifest.fingerprint, other.manifest.fingerprint
    if before == after:
        return
    if one.model is None or other.model is None:
        lacking = before if one.model is None else after
        text = f"another model: {before[:_SHOWN] or 'none'} -> {after[:_SHOWN] or 'none'}"
        if lacking:
            text += f"; what {lacking[:_SHOWN]} is made of is not in this store"
        yield Difference("model", "", before, after, text)
        return
    when = _between(one.manifest, other.manifest)
    for part, field in _PARTS.items():
        a, b = _facts(one.model.get(field)) or {}, _facts(other.model.get(field)) or {}
        if part == "runtime" and bool(a) != bool(b):
            text = "only one of the two is of STEPAUDIO_CAS_FINGERPRINT=strict"
            yield Difference(part, "", a, b, text)
            continue
        nested = part in {"setting", "runtime"}
        for name, x, y in _changes(a, b, nested=nested):
            yield _difference(part, name, x, y, when)


def _difference(part: str, name: str, before: Any, after: Any, when: str = "") -> Difference:
    show = _content if part == "file" else _value
    shown = ["none" if side is _MISSING else show(side) for side in (before, after)]
    if shown[0] == shown[1]:  # long, and different further on
        shown = ["one value", "another"]
    text = _HEADS[part].format(name=name, when=when) + f"{shown[0]} -> {shown[1]}"
    a, b = (None if side is _MISSING else side for side in (before, after))
    return Difference(part, name, a, b, text)


def _changes(
    a: Mapping[str, Any], b: Mapping[str, Any], *, nested: bool = True, prefix: str = ""
) -> Iterator[tuple[str, Any, Any]]:
    """Yield what differs by name, inside of dictionaries too."""
    for name in dict.fromkeys([*a, *b]):
        before, after = a.get(name, _MISSING), b.get(name, _MISSING)
        if nested and isinstance(before, dict) and isinstance(after, dict):
            yield from _changes(before, after, prefix=f"{prefix}{name}.")
        elif type(before) is not type(after) or before != after:
            yield f"{prefix}{name}", before, after


def _content(file: Any) -> str:
    if not isinstance(file, dict):
        return _value(file)
    size = file.get("size")
    text = _value(file.get("digest"))
    return f"{text} ({show_bytes(size)})" if isinstance(size, int) else text


def _value(value: Any) -> str:
    if is_digest(value):
        return str(value)[:_SHOWN]
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _between(a: Manifest, b: Manifest) -> str:
    """Say between which days something changed: one that is not made yet is of today."""
    days = sorted(m.created[:10] for m in (a, b) if m.created)
    if not days:
        return ""
    if len(days) == 1:
        return f" since {days[0]}"
    return f" on {days[0]}" if days[0] == days[1] else f" between {days[0]} and {days[1]}"


class Nearest:
    """Finds, in one walk over a store, the entries that are most like some that are not there.

    The same inputs come first, then the same model, then a file of the same name; of those, the
    newest. With `elder`, none that was made after the one that it is compared with.
    """

    def __init__(self, wanted: Sequence[Manifest], *, elder: bool = False) -> None:
        self._elder = elder
        self._wanted = {manifest.key: manifest for manifest in wanted}
        self._best: dict[str, list[tuple[tuple[int, bool, str, str], Manifest]]] = {
            key: [] for key in self._wanted
        }

    def consider(self, found: Iterable[Kept]) -> None:
        """Look at entries."""
        for kept in found:
            if kept.manifest is not None:
                self._compare(kept.manifest)

    def of(self, key: str) -> list[Manifest]:
        """Return the nearest to this key, the best first."""
        return [manifest for _, manifest in sorted(self._best[key], reverse=True)]

    def _compare(self, manifest: Manifest) -> None:
        for key, wanted in self._wanted.items():
            best = self._best[key]
            if method_of(manifest) != method_of(wanted) or manifest.key == key:
                continue
            if self._elder and manifest.created > wanted.created:
                continue
            if any(known.key == manifest.key for _, known in best):  # of a store before
                continue
            named = not set(names(manifest)).isdisjoint(names(wanted))
            rank = _alike(manifest, wanted, named)
            if not rank:
                continue
            heapq.heappush(best, ((rank, named, manifest.created, manifest.key), manifest))
            if len(best) > NEAREST:
                heapq.heappop(best)


def _alike(one: Manifest, other: Manifest, named: bool) -> int:
    if _digests(one) == _digests(other):
        return 3
    return 2 if one.fingerprint == other.fingerprint else int(named)


def method_of(manifest: Manifest) -> str:
    """Name what is computed, whatever its version."""
    return manifest.schema.rpartition("/")[0] or manifest.schema


def _digests(manifest: Manifest) -> dict[str, Any]:
    return {name: (_facts(item) or {}).get("digest") for name, item in manifest.inputs.items()}
