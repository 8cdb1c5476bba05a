"""One method of a host, cached."""

from __future__ import annotations

import inspect
import os
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from stepaudio_cas import arrays
from stepaudio_cas.errors import Bypass
from stepaudio_cas.identity.canonical import canonical
from stepaudio_cas.identity.digest import digest_array
from stepaudio_cas.identity.fingerprint import Fingerprint, make_fingerprint
from stepaudio_cas.identity.platform import describe_platform
from stepaudio_cas.identity.recipe import Input, Recipe, as_input, recipe_of
from stepaudio_cas.runtime.decorator import Cached
from stepaudio_cas.settings import Strictness

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from stepaudio_cas.activation.plugin import Method, Model, Parts, Role
    from stepaudio_cas.identity.files import FileDigest
    from stepaudio_cas.runtime.cache import Cache

_REMEMBERED: Final = 64


class HostMethod(Cached[Any]):
    """Makes recipes by what a plugin has declared; looks up, counts and falls back as `Cached`."""

    def __init__(
        self,
        cache: Cache,
        original: Callable[..., Any],
        method: Method,
        name: str,
        source: Mapping[str, str],
    ) -> None:
        super().__init__(
            cache,
            original,
            _no_model,
            name=name,
            ignore=(),
            deterministic=method.deterministic,
            restore=None,
            keep=method.keep,
        )
        self.method = method
        self.original = original
        self._source = dict(source)
        self._roles = list(method.arguments.items())
        self._known: dict[bytes, tuple[list[Callable[[], Any]], Fingerprint]] = {}

    def recipe(self, *args: Any, **kwargs: Any) -> Recipe:
        """Describe a call on an instance."""
        arguments = self._bind(args, kwargs)
        instance = arguments[self._names[0]]
        inputs: dict[str, Input] = {}
        params: dict[str, Any] = {}
        for name, role in self._roles:
            self._describe(name, role, arguments[name], inputs, params)
        model = self.method.model(instance)
        if model is None:
            raise Bypass("not-loaded", "the model is not loaded")
        return recipe_of(self._name, inputs, params, self.fingerprint(model))

    def _describe(
        self,
        name: str,
        role: Role,
        value: Any,
        inputs: dict[str, Input],
        params: dict[str, Any],
    ) -> None:
        kind = role.kind
        if kind == "value":
            params[name] = value
        elif kind == "content" or (kind == "path" and arrays.is_array(value)):
            inputs[name] = as_input(value)
        elif kind == "path":
            if not isinstance(value, (str, os.PathLike)):
                raise Bypass("unsupported-input", f"{name} is a {type(value).__qualname__}")
            inputs[name] = self._file_input(name, Path(value))
        elif kind == "only" and not any(value is a or value == a for a in role.allowed):
            raise Bypass("stateful", f"{name} is {value!r:.40}")

    def fingerprint(self, model: Model) -> Fingerprint:
        """Return the fingerprint of what is loaded, made once for the same objects and settings."""
        key = canonical([[id(thing) for thing in model.loaded], dict(model.settings)])
        known = self._known.get(key)
        if known is not None and all(
            ref() is thing for ref, thing in zip(known[0], model.loaded, strict=True)
        ):
            return known[1]
        made = self._make_fingerprint(model)
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        self._known[key] = [_reference(thing) for thing in model.loaded], made
        self._cache.recorder.log.info(f"{self._name}: model fingerprint {made.id[:16]}")
        return made

    def _make_fingerprint(self, model: Model) -> Fingerprint:
        strict = self._cache.strictness is Strictness.STRICT
        if strict and not self._deterministic:
            raise Bypass("random-result", "a strict fingerprint allows no random results")
        parts = model.parts()
        settings = {**parts.settings, **model.settings}
        for name, array in parts.arrays.items():
            settings[name] = digest_array(array)
        runtime = {**describe_platform(), **_effective(model)} if strict else {}
        return make_fingerprint(
            files=self._files(parts),
            settings=settings,
            source={**self._source, **_code(parts)},
            runtime=runtime,
        )

    def _files(self, parts: Parts) -> dict[str, FileDigest]:
        found = {}
        for role, path in parts.files.items():
            if path is None:
                continue
            try:
                found[role] = self._cache.files.digest(path)
            except OSError as error:
                raise Bypass("unreadable-model", f"{role}: {error}") from None
        return found

    def _restorer(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Callable[[Any], Any] | None:
        restore = self.method.restore
        if restore is None:
            return None
        return lambda value: restore(args[0], self._bind(args, kwargs), value)


def _no_model(_: Any) -> Fingerprint:
    raise Bypass("not-loaded")


def _reference(thing: Any) -> Callable[[], Any]:
    """Refer to a loaded object without keeping a model in memory that the host has dropped."""
    try:
        return weakref.ref(thing)
    except TypeError:
        return lambda: thing


def _code(parts: Parts) -> dict[str, str]:
    """Read the source files of classes and functions on the path."""
    texts: dict[str, str] = {}
    for code in parts.code:
        name = f"{code.__module__}.{code.__qualname__}"
        try:
            file = inspect.getsourcefile(code)
            texts[name] = Path(file).read_text("utf-8", "replace") if file is not None else ""
        except (OSError, TypeError):
            texts[name] = ""
    return texts


def _effective(model: Model) -> dict[str, Any]:
    """Say which providers the ONNX sessions really use: CUDA silently falls back to the CPU."""
    sessions = [thing for thing in model.loaded if hasattr(thing, "get_providers")]
    return {f"providers{n}": list(s.get_providers()) for n, s in enumerate(sessions)}
