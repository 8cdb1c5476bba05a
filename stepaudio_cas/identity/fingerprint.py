"""What a model is: the digests of its files, its settings, the source of the code on the path.

A fingerprint is a small JSON document named by its own BLAKE3, so that a manifest can refer to it
and a later reader can say *which* ingredient differs.
"""

from __future__ import annotations

import inspect
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from stepaudio_cas.errors import Bypass
from stepaudio_cas.identity.digest import digest_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from stepaudio_cas.identity.files import FileDigest

FORMAT: Final = 1


@dataclass(frozen=True)
class Fingerprint:
    """The identity of a model: `id` is the BLAKE3 of `document`."""

    id: str
    document: bytes


def make_fingerprint(
    *,
    files: Mapping[str, FileDigest] | None = None,
    settings: Mapping[str, Any] | None = None,
    source: Mapping[str, str] | None = None,
    runtime: Mapping[str, Any] | None = None,
) -> Fingerprint:
    """Describe a model.

    `files` maps a role ("k-means") to a digest; paths stay out, so that two machines agree.
    `settings` are the effective values that change the result. `source` maps names of functions
    to their text (see `source_of`). `runtime` is for strict fingerprints: versions, providers.
    Raises `Bypass` for a setting that has no exact JSON form.
    """
    try:
        document: dict[str, Any] = {
            "format": FORMAT,
            "files": {
                role: {"digest": f.digest, "size": f.size} for role, f in (files or {}).items()
            },
            "settings": _plain(dict(settings or {}), "settings"),
            "source": {name: digest_bytes(text.encode()) for name, text in (source or {}).items()},
            "runtime": _plain(dict(runtime or {}), "runtime"),
        }
        data = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    except (RecursionError, ValueError) as error:  # cycles, lone surrogates, endless integers
        raise Bypass("undescribable", f"{type(error).__name__}: {error}") from None
    return Fingerprint(digest_bytes(data), data)


def source_of(function: Callable[..., Any]) -> str:
    """Return the raw text of a function or class.

    Read it when the module is loaded: later, the file may already hold a newer version than the
    code that runs. Raises `Bypass` where there is no text (a REPL, a compiled module).
    """
    try:
        return inspect.getsource(inspect.unwrap(function))
    except (OSError, TypeError):
        name = getattr(function, "__qualname__", repr(function))
        raise Bypass("no-source", f"the source of {name} cannot be read; give a version") from None


def _plain(value: Any, where: str) -> Any:
    """Check that `value` is made of what JSON keeps exactly."""
    if value is None or type(value) in {bool, int, str}:
        return value
    if type(value) is float:
        return value if value == value and abs(value) != float("inf") else repr(value)  # noqa: PLR0124
    if type(value) in {list, tuple}:
        return [_plain(item, f"{where}[{i}]") for i, item in enumerate(value)]
    if type(value) is dict and all(type(key) is str for key in value):
        return {key: _plain(item, f"{where}.{key}") for key, item in value.items()}
    name = f"{type(value).__module__}.{type(value).__qualname__}"
    raise Bypass("undescribable", f"{where} is a {name}")
