"""Caching any function of audio and parameters, by a decorator."""

from __future__ import annotations

import functools
import inspect
import os
import time
from pathlib import Path
from types import CodeType
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from stepaudio_cas import arrays
from stepaudio_cas.artifact.fresh import Ready
from stepaudio_cas.errors import Bypass, SettingError
from stepaudio_cas.identity.canonical import canonical
from stepaudio_cas.identity.fingerprint import Fingerprint, make_fingerprint, source_of
from stepaudio_cas.identity.platform import describe_platform
from stepaudio_cas.identity.recipe import Input, Recipe, as_input, file_input, recipe_of
from stepaudio_cas.runtime.call import LEFT_ALONE
from stepaudio_cas.runtime.interrupts import reraise_interrupt
from stepaudio_cas.settings import Strictness

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from stepaudio_cas.runtime.cache import Cache

T = TypeVar("T")
_PLAIN: Final = frozenset({type(None), bool, int, float, str})
_SIMPLE: Final = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


class Model:
    """What a cached function computes with, besides its arguments.

    The source text is taken when the function is decorated, because its file may change while
    the process runs; files are read at the first call.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        version: str | None,
        files: Sequence[str | os.PathLike[str]],
        settings: Mapping[str, Any],
    ) -> None:
        self.versioned = version is not None
        self._settings = dict(settings) | ({"version": version} if version is not None else {})
        self._source = {} if version is not None else {function.__qualname__: _text_of(function)}
        self._files = {Path(file).name: file for file in files}
        if len(self._files) != len(files):
            raise SettingError("two model files have the same name; say settings= instead")
        self._made: Fingerprint | None = None

    def fingerprint(self, cache: Cache, *, deterministic: bool) -> Fingerprint:
        """Make the fingerprint, once."""
        strict = cache.strictness is Strictness.STRICT
        if strict and not deterministic:
            raise Bypass("random-result", "a strict fingerprint allows no random results")
        if self._made is None:
            self._made = make_fingerprint(
                files={role: cache.files.digest(path) for role, path in self._files.items()},
                settings=self._settings,
                source=self._source,
                runtime=describe_platform() if strict else {},
            )
        return self._made


class Cached(Generic[T]):
    """A function whose results are kept. Call it as you would call the function."""

    def __init__(
        self,
        cache: Cache,
        function: Callable[..., T],
        model: Model | Callable[..., Fingerprint],
        *,
        name: str,
        ignore: Sequence[str],
        deterministic: bool,
        restore: Callable[[Any], Any] | None,
        keep: Callable[[Any], bool] | None = None,
        pack: Callable[[Any], Any] | None = None,
    ) -> None:
        functools.update_wrapper(self, function)
        self._cache = cache
        self._function = function
        self._model = model
        self._name = name
        self._ignore = frozenset(ignore)
        self._deterministic = deterministic
        self._restore = restore
        self._keep = keep
        self._pack = pack
        self._signature = inspect.signature(function)
        parameters = self._signature.parameters.values()
        self._simple = all(p.kind in _SIMPLE for p in parameters)
        self._names = tuple(self._signature.parameters)
        self._positional = sum(p.kind is _SIMPLE[0] for p in parameters)
        self._defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
        unknown = self._ignore - set(self._names)
        if unknown:
            raise SettingError(f"{name} has no parameter {', '.join(sorted(unknown))}")

    def __call__(self, *args: Any, **kwargs: Any) -> T:
        """Return the kept result of these arguments, or compute and keep it."""
        cache, function = self._cache, self._function
        if not cache.enabled:
            return function(*args, **kwargs)
        started = time.perf_counter()
        recipe = None
        try:
            recipe = self.recipe(*args, **kwargs)
        except Bypass as bypass:
            reraise_interrupt(bypass)
            cache.bypassed(bypass, self._name)
        except (Exception, SystemExit) as error:  # arguments that do not fit, a failing property …
            reraise_interrupt(error)
            cache.bypassed(Bypass("failed-key", f"{type(error).__name__}: {error}"), self._name)
        if recipe is None:  # outside the handlers: the host's exceptions have no context of ours
            return function(*args, **kwargs)
        restore = self._restorer(args, kwargs)
        if cache.quick:
            value = cache.recall(recipe, self._name, restore, started)
            if value is not LEFT_ALONE:
                return value  # type: ignore[no-any-return]
        return cache.get_or_compute(
            recipe,
            lambda: function(*args, **kwargs),
            plugin=self._name,
            deterministic=self._deterministic,
            restore=restore,
            keep=self._keep,
            snapshot=lambda: self._snapshot(args, kwargs),
            started=started,
            pack=self._pack,
        )

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else functools.partial(self, instance)

    def _restorer(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Callable[[Any], Any] | None:
        """Return what takes a kept value to where this call would have had it."""
        del args, kwargs
        return self._restore

    def recipe(self, *args: Any, **kwargs: Any) -> Recipe:
        """Describe a call, to look at its key or to ask the cache about it.

        Raises `Bypass` if the call cannot be described, `TypeError` if the arguments do not fit.
        """
        inputs: dict[str, Input] = {}
        params: dict[str, Any] = {}
        arguments = self._bind(args, kwargs)
        for name, value in arguments.items():
            if name in self._ignore:
                continue
            kind = type(value)
            if kind in _PLAIN:
                params[name] = value
            elif kind is bytes or arrays.is_array_type(kind):
                inputs[name] = as_input(value)
            elif isinstance(value, os.PathLike):
                inputs[name] = self._file_input(name, value)
            else:
                params[name] = value
        if isinstance(self._model, Model):
            fingerprint = self._model.fingerprint(self._cache, deterministic=self._deterministic)
            if not self._model.versioned and self._function.__closure__:
                params["<closure>"] = self._closure()
        else:
            fingerprint = self._model(arguments)
        return recipe_of(self._name, inputs, params, fingerprint)

    def _bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """Name every argument. The plain case is ten times as fast as `Signature.bind`."""
        if self._simple and len(args) <= self._positional:
            given = dict(zip(self._names, args, strict=False))
            found = {**self._defaults, **given, **kwargs}
            if len(found) == len(self._names) and given.keys().isdisjoint(kwargs):
                return found
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return bound.arguments

    def _file_input(self, name: str, path: os.PathLike[str]) -> Input:
        try:
            found = self._cache.files.digest(path)
        except OSError as error:
            raise Bypass("unreadable-file", f"{name}: {error}") from None
        return file_input(path, found)

    def _closure(self) -> bytes:
        names = self._function.__code__.co_freevars
        cells = self._function.__closure__ or ()
        try:
            values = {n: c.cell_contents for n, c in zip(names, cells, strict=True)}
            return canonical(values)
        except (Bypass, ValueError) as error:
            raise Bypass("closure", f"{error}; give a version= to answer for it") from None

    def _snapshot(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Callable[[], Any]:
        """Keep the arguments as they are now, for a computation later."""
        kept = Ready((list(args), dict(kwargs)), 0.0, owned=False)

        def recompute() -> Any:
            again, named = kept.fresh()
            value = self._function(*again, **named)
            return value if self._pack is None else self._pack(value)

        return recompute


def decorator(
    cache: Cache,
    *,
    name: str | None = None,
    version: str | None = None,
    files: Sequence[str | os.PathLike[str]] = (),
    settings: Mapping[str, Any] | None = None,
    fingerprint: Fingerprint | Callable[[Mapping[str, Any]], Fingerprint] | None = None,
    ignore: Sequence[str] = (),
    deterministic: bool = True,
    restore: Callable[[Any], Any] | None = None,
    keep: Callable[[T], bool] | None = None,
) -> Callable[[Callable[..., T]], Cached[T]]:
    """Make the decorator that `Cache.cached` describes."""

    def decorate(function: Callable[..., T]) -> Cached[T]:
        _refuse_suspended(function)
        if not inspect.isroutine(function):
            raise SettingError(f"{function!r:.60} is not a function; cache the function it calls")
        if inspect.ismethod(function) and fingerprint is None:
            raise SettingError(
                f"{function.__qualname__} is bound to an object that would not be in the key;"
                " decorate the method in its class, or say fingerprint="
            )
        model: Model | Callable[..., Fingerprint]
        if fingerprint is None:
            model = Model(function, version=version, files=files, settings=settings or {})
        elif isinstance(fingerprint, Fingerprint):
            made = fingerprint
            model = lambda _: made  # noqa: E731
        else:
            model = fingerprint
        return Cached(
            cache,
            function,
            model,
            name=name or f"{function.__module__}.{function.__qualname__}",
            ignore=ignore,
            deterministic=deterministic,
            restore=restore,
            keep=keep,
        )

    return decorate


def _text_of(function: Callable[..., Any]) -> str:
    """Return the source text; lambdas share their line with others, so their code goes with it."""
    text = source_of(function)
    return text + repr(_code(function.__code__)) if function.__name__ == "<lambda>" else text


def _code(code: CodeType) -> tuple[Any, ...]:
    consts = [_code(c) if isinstance(c, CodeType) else repr(c) for c in code.co_consts]
    return (code.co_code, code.co_names, code.co_varnames, code.co_freevars, consts)


def _refuse_suspended(function: Callable[..., Any]) -> None:
    if (
        inspect.iscoroutinefunction(function)
        or inspect.isgeneratorfunction(function)
        or inspect.isasyncgenfunction(function)
    ):
        raise SettingError(
            f"{function.__qualname__} does not return its result when called;"
            " cache the plain function that it awaits or iterates over"
        )
