"""What a plugin declares: which methods of which host classes, and how their keys are made.

A plugin module has one `Plugin` in it, named by an entry point of the group
`stepaudio_cas.plugins`. It is imported while the host starts, so it imports nothing heavy itself.
docs/plugins.md teaches this in one page.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


class Role(NamedTuple):
    """How an argument gets into the key."""

    kind: str
    allowed: tuple[Any, ...] = ()


def content() -> Role:
    """Tell the array, tensor or bytes by what it holds."""
    return Role("content")


def value() -> Role:
    """Tell a plain value by itself and its type."""
    return Role("value")


def path() -> Role:
    """Tell a file by its content. An array or tensor in its place is told by its own."""
    return Role("path")


def ignored() -> Role:
    """Leave out what cannot change the result."""
    return Role("ignored")


def only(*allowed: Any) -> Role:
    """Cache only calls with one of these values: with another, the call has a state of its own."""
    return Role("only", allowed)


class Parts(NamedTuple):
    """What was loaded, as far as it decides the result.

    `files` by role (weights, configurations), `arrays` by name (code books), `settings` that were
    fixed then, and `code`: classes and functions whose source files count, those of their base
    classes in the same package included. A file or piece of code that is None is not there; if a
    model without it cannot be told from another, raise `LookupError` instead.
    """

    files: Mapping[str, str | None] = {}
    arrays: Mapping[str, Any] = {}
    settings: Mapping[str, Any] = {}
    code: Sequence[Any] = ()


class Model(NamedTuple):
    """What a method computes with, besides its arguments, as it is in this instance right now.

    `loaded` are the objects that hold the model: as long as they are the same ones, `parts` is
    not called again. `settings` are values that may differ from call to call, read each time.
    `deterministic` says whether two runs agree, where that depends on how the model is set.
    """

    loaded: tuple[Any, ...]
    parts: Callable[[], Parts]
    settings: Mapping[str, Any] = {}
    deterministic: bool | None = None


class Method(NamedTuple):
    """One method that is cached.

    `arguments` names every parameter (but `self`) in order, with its role: a host whose method
    has others is another version, and is left alone with a line that says so. `model` looks at
    the instance; while nothing is loaded it returns None, and the call is not cached.
    `deterministic` is False if two runs differ. `restore` gets the instance, the arguments by
    name and a kept value, and puts it where the host would have had it. `keep` looks at a result
    and says whether it is worth keeping (an empty text after an error is not). `version` is
    raised when a plugin changes the meaning of its keys.

    The last two are for `cas-tool explain`, which finds keys without computing: `results` is how
    many values the method returns, and `composed` says that it does little itself but call other
    cached methods.
    """

    name: str
    arguments: Mapping[str, Role]
    model: Callable[[Any], Model | None]
    deterministic: bool = True
    restore: Callable[[Any, Mapping[str, Any], Any], Any] | None = None
    keep: Callable[[Any], bool] | None = None
    version: int = 1
    results: int = 1
    composed: bool = False


class HostClass(NamedTuple):
    """A class of a host, told by its structure: its name, and attributes it must own.

    `modules` are the last parts of names of modules it lives in ("tokenizer" also matches
    `some.fork.tokenizer`). `helpers` are functions of that module which its methods call; those
    that are there belong to the fingerprint with their source.

    The last two are for `STEPAUDIO_CAS_WATCH`. `voice` has a live instance encode the recording at
    a path, as the host does with its own; of several classes that have it, the last is asked.
    While one of `requests` runs, methods that serve somebody from end to end, no voice is encoded;
    the cached methods need not be named.
    """

    name: str
    modules: Sequence[str]
    owns: Sequence[str]
    methods: Sequence[Method]
    helpers: Sequence[str] = ()
    voice: Callable[[Any, str], object] | None = None
    requests: Sequence[str] = ()


class Plugin(NamedTuple):
    """A family of hosts.

    `loader` names a function, as "module:function", that loads what encodes a voice outside the
    host's server, with the host's own code: see docs/plugins.md.
    """

    name: str
    classes: Sequence[HostClass]
    loader: str = ""


def check(plugin: Plugin) -> None:
    """Raise `TypeError` for the mistakes that are easily made in a declaration."""
    _expect(plugin.loader, str, "the loader")
    for host in plugin.classes:
        _expect(host, HostClass, "a class")
        for names in (host.modules, host.owns, host.helpers, host.requests):
            if isinstance(names, str):
                raise TypeError(f"{host.name}: {names!r} is one name where several are due")
            for name in names:
                _expect(name, str, f"{host.name}: a name")
        for method in host.methods:
            _expect(method, Method, f"{host.name}: a method")
            for role in method.arguments.values():
                _expect(role, Role, f"{host.name}.{method.name}: the role of an argument")


def _expect(thing: Any, kind: type, what: str) -> None:
    if not isinstance(thing, kind):
        raise TypeError(f"{what} is {thing!r:.60}, not a {kind.__name__}")
