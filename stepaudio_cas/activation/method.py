"""One method of a host, cached."""

from __future__ import annotations

import os
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgpack

from stepaudio_cas import arrays
from stepaudio_cas.activation import network
from stepaudio_cas.activation.several import Several
from stepaudio_cas.activation.source import texts_of
from stepaudio_cas.activation.streams import describe_stream, detached, is_stream, leave_read
from stepaudio_cas.errors import Bypass
from stepaudio_cas.identity.canonical import canonical
from stepaudio_cas.identity.digest import digest_array
from stepaudio_cas.identity.files import digest_small
from stepaudio_cas.identity.fingerprint import Fingerprint, make_fingerprint
from stepaudio_cas.identity.platform import describe_platform
from stepaudio_cas.identity.recipe import Input, Recipe, as_input, file_input, recipe_of
from stepaudio_cas.runtime.call import LEFT_ALONE
from stepaudio_cas.runtime.decorator import Cached
from stepaudio_cas.runtime.interrupts import reraise_interrupt
from stepaudio_cas.settings import Strictness
from stepaudio_cas.tuning.effects import effects, marks_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from inspect import Signature

    from stepaudio_cas.activation.plugin import Method, Model, Role
    from stepaudio_cas.activation.source import HostSource
    from stepaudio_cas.identity.files import FileDigest
    from stepaudio_cas.runtime.cache import Cache

_REMEMBERED: Final = 64
_RECORDING: Final = 4 << 20
"""Bytes of audio up to which a file is read at each call."""


class HostMethod(Cached[Any]):
    """Makes recipes by what a plugin has declared; looks up, counts and falls back as `Cached`."""

    def __init__(
        self,
        cache: Cache,
        original: Callable[..., Any],
        method: Method,
        name: str,
        source: HostSource,
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
            pack=method.pack,
        )
        self.method = method
        self.original = original
        self._source = source
        self._roles = list(method.arguments.items())
        self._strict = cache.strictness is Strictness.STRICT
        self._loaded: dict[tuple[int, ...], _Loaded] = {}
        self._several = Several(cache, self, method.items) if method.items is not None else None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Do a call as `Cached`; on several items, as that many calls at once."""
        if self._several is not None and self._cache.enabled:
            values = self._several(args, kwargs)
            if values is not LEFT_ALONE:
                return values
        return super().__call__(*args, **kwargs)

    @property
    def name(self) -> str:
        """How it is called in keys and statistics."""
        return self._name

    @property
    def signature(self) -> Signature:
        """What the host's method takes, the instance first."""
        return self._signature

    @property
    def repeats(self) -> bool:
        """Whether two runs agree, as far as that does not depend on the model."""
        return self._deterministic

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """Name every argument, the instance first."""
        return self._bind(args, kwargs)

    def keep_under(
        self,
        label: str,
        recipe: Recipe,
        compute: Callable[[], Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        """Do what a call does that has been described, and label what is kept of it."""
        return self._cache.get_or_compute(
            recipe,
            compute,
            plugin=self._name,
            deterministic=self._deterministic,
            label=label,
            restore=self._restorer(args, kwargs),
            keep=self._keep,
            pack=self._pack,
        )

    def recipe(self, *args: Any, **kwargs: Any) -> Recipe:
        """Describe a call on an instance."""
        return self.describe(self._bind(args, kwargs))

    def describe(self, arguments: Mapping[str, Any]) -> Recipe:
        """Describe a call whose arguments have been named."""
        instance = arguments[self._names[0]]
        if self.method.resolve is not None:
            arguments = self.method.resolve(instance, arguments)
        inputs: dict[str, Input] = {}
        params: dict[str, Any] = {}
        for name, role in self._roles:
            self._describe(name, role, arguments[name], inputs, params)
        return recipe_of(self._name, inputs, params, self.fingerprint(instance))

    def _describe(
        self,
        name: str,
        role: Role,
        value: Any,
        inputs: dict[str, Input],
        params: dict[str, Any],
    ) -> None:
        kind = role.kind
        if kind == "value" or (kind == "content" and value is None):
            params[name] = value
        elif kind in {"content", "path"} and type(value) in {list, tuple}:
            params[name] = f"{type(value).__name__} of {len(value)}"
            for place, item in enumerate(value):
                self._describe(f"{name}[{place}]", role, item, inputs, params)
        elif kind == "content" or (
            kind == "path" and (type(value) is bytes or arrays.is_array(value))
        ):
            inputs[name] = as_input(value)
        elif kind == "path" and is_stream(value) and self.method.restore is not None:
            inputs[name] = describe_stream(name, value, params)
        elif kind == "path":
            if not isinstance(value, (str, os.PathLike)):
                raise Bypass("unsupported-input", f"{name} is a {type(value).__qualname__}")
            inputs[name] = self._file_input(name, value)
        elif kind == "only" and not any(value is a or value == a for a in role.allowed):
            raise Bypass("stateful", f"{name} is {value!r:.40}")

    def _file_input(self, name: str, path: str | os.PathLike[str]) -> Input:
        """Digest a recording; most are read as quickly as their digest would be looked up.

        Also, an upload has a new name each time: looked up, each would be remembered for ever.
        """
        try:
            found = digest_small(path, _RECORDING)
        except OSError as error:
            raise Bypass("unreadable-file", f"{name}: {error}") from None
        return super()._file_input(name, Path(path)) if found is None else file_input(path, found)

    def prepare(self, instance: Any) -> None:
        """Describe the model of a new instance at once, while its files are those it has read.

        What cannot be described yet, because it is loaded later, is described at its first call.
        """
        try:
            model = self.method.model(instance)
            if model is not None and model.networks:
                self._load(model)  # its weights are not there yet
            else:
                self.fingerprint(instance)
        except (Exception, SystemExit) as error:  # the first call says what is wrong
            reraise_interrupt(error)

    def fingerprint(self, instance: Any) -> Fingerprint:
        """Return what this instance computes with; made once for the same objects and settings."""
        model = self.method.model(instance)
        if model is None:
            raise Bypass("not-loaded", "the model is not loaded")
        repeats = self._deterministic if model.deterministic is None else model.deterministic
        if self._strict and not repeats:
            raise Bypass("random-result", "a strict fingerprint allows no random results")
        state = self._source.state(instance, self.method.name)
        loaded = self._load(model)
        if model.networks:
            model = model._replace(settings={**model.settings, **network.describe(model.networks)})
        tuning = effects.of(model.loaded, loaded.marks) if effects.active else {}
        key = state, _telling({**model.settings, "tuning": tuning} if tuning else model.settings)
        made = loaded.fingerprints.get(key)
        if made is None:
            made = self._make(instance, model, loaded, tuning)
            if len(loaded.fingerprints) >= _REMEMBERED:
                loaded.fingerprints.clear()
            loaded.fingerprints[key] = made
            self._cache.recorder.log.info(f"{self._name}: model fingerprint {made.id[:16]}")
        return made

    def _make(
        self, instance: Any, model: Model, loaded: _Loaded, tuning: dict[str, Any]
    ) -> Fingerprint:
        tuned = {"tuning": tuning} if tuning else {}
        return make_fingerprint(
            files=loaded.files,
            settings={**loaded.settings, **model.settings, **tuned},
            source={**loaded.source, **self._source.texts(instance, self.method.name)},
            runtime={**describe_platform(), **_effective(model)} if self._strict else {},
        )

    def _load(self, model: Model) -> _Loaded:
        """Describe the loaded objects, once: their files may be others by the next time."""
        things = (*model.loaded, *model.networks.values())
        key = tuple(map(id, things))
        known = self._loaded.get(key)
        if known is not None and known.holds(things):
            return known
        parts = model.parts()
        settings = dict(parts.settings)
        for name, array in parts.arrays.items():
            settings[name] = digest_array(array)
        files = {role: path for role, path in parts.files.items() if path is not None}
        texts = texts_of([*parts.code, *network.kinds(model.networks)])
        made = _Loaded(things, self._digests(files), settings, texts)
        if len(self._loaded) >= _REMEMBERED:
            self._loaded.clear()
        self._loaded[key] = made
        return made

    def _digests(self, files: Mapping[str, str]) -> dict[str, FileDigest]:
        found = {}
        for role, path in files.items():
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

        def give(value: Any) -> Any:
            arguments = self._bind(args, kwargs)
            restored = restore(args[0], arguments, value)  # if it fails, the host reads them
            leave_read(arguments[name] for name, role in self._roles if role.kind == "path")
            return restored

        return give

    def _snapshot(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Callable[[], Any]:
        return super()._snapshot(
            tuple(map(detached, args)), {name: detached(arg) for name, arg in kwargs.items()}
        )


class _Loaded:
    """What some loaded objects are; it does not keep alive what the host has dropped."""

    def __init__(
        self,
        things: tuple[Any, ...],
        files: dict[str, FileDigest],
        settings: dict[str, Any],
        source: dict[str, str],
    ) -> None:
        self._things = [_reference(thing) for thing in things]
        self.marks = marks_of(things)
        self.files = files
        self.settings = settings
        self.source = source
        self.fingerprints: dict[Any, Fingerprint] = {}

    def holds(self, things: tuple[Any, ...]) -> bool:
        """Tell whether these are the same objects, not others at the same addresses."""
        return all(ref() is thing for ref, thing in zip(self._things, things, strict=True))


def _telling(settings: Mapping[str, Any]) -> bytes:
    """Return bytes that differ where settings differ, in types too; as fast as that can be had.

    Equal settings may give different bytes: then they are described twice, with one outcome.
    """
    try:
        told: bytes = msgpack.packb(dict(settings), strict_types=True)
    except (TypeError, ValueError, OverflowError):  # tuples, objects: as in keys, or refused
        return canonical(dict(settings))
    return told


def _no_model(_: Any) -> Fingerprint:
    raise Bypass("not-loaded")


def _reference(thing: Any) -> Callable[[], Any]:
    try:
        return weakref.ref(thing)
    except TypeError:
        return lambda: thing


def _effective(model: Model) -> dict[str, Any]:
    """Say which providers and devices are really used: CUDA silently falls back to the CPU."""
    sessions = [thing for thing in model.loaded if hasattr(thing, "get_providers")]
    providers = {f"providers{n}": list(s.get_providers()) for n, s in enumerate(sessions)}
    return {**providers, **network.devices(model.networks)}
