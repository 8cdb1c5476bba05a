"""What a plugin declares: which methods of which host classes, and how their keys are made.

A plugin module has one `Plugin` in it, named by an entry point of the group
`stepaudio_cas.plugins`. It is imported while the host starts, so it imports nothing heavy itself.
docs/plugins.md teaches this in one page.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from stepaudio_cas.errors import Bypass as Bypass  # noqa: PLC0414 - plugins raise it

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


class Role(NamedTuple):
    """How an argument gets into the key."""

    kind: str
    allowed: tuple[Any, ...] = ()


def content() -> Role:
    """Tell the array, tensor or bytes by what it holds; None, where it may be left out, is told."""
    return Role("content")


def value() -> Role:
    """Tell a plain value by itself and its type."""
    return Role("value")


def path() -> Role:
    """Tell a file by its content. An array, tensor or bytes in its place are told by their own.

    So is an open file, if the method has a `restore`; on a hit it is left at its end, as read.
    Of several in a list or tuple, here and in `content()`, each is told, and how many there are.
    """
    return Role("path")


def digest(thing: Any) -> str:
    """Tell an array, tensor or bytes by what it holds, for a setting."""
    from stepaudio_cas.identity import digest as digests  # noqa: PLC0415 - not while hosts start

    return digests.digest_bytes(thing) if type(thing) is bytes else digests.digest_array(thing)


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
    `networks` are torch modules by role. Nothing else need be said of them: their tensors are told
    by content, once and whenever they have changed, their hyperparameters and the source of their
    classes too; in training mode the call is passed through.
    """

    loaded: tuple[Any, ...]
    parts: Callable[[], Parts]
    settings: Mapping[str, Any] = {}
    deterministic: bool | None = None
    networks: Mapping[str, Any] = {}


class Items(NamedTuple):
    """How a call on several items is told as calls on one item each.

    `split` gets the instance and the arguments by name, and returns the arguments of such a call
    for each item, in order, or None where it is one already. All of them are looked up at once.
    `some` gets the arguments and positions, and returns those of one call on these items: then the
    host computes what is missing in that one call, else item by item. Each call returns a list
    with a value for each of its items; `restore` gets the list of them all, each as the host has
    returned it or as it was packed.
    """

    split: Callable[[Any, Mapping[str, Any]], Sequence[Mapping[str, Any]] | None]
    some: Callable[[Mapping[str, Any], Sequence[int]], Mapping[str, Any]] | None = None


class Method(NamedTuple):
    """One method that is cached.

    `arguments` names every parameter (but `self`) in order, with its role: a host whose method
    has others is another version, and is left alone with a line that says so. `model` looks at
    the instance; while nothing is loaded it returns None, and the call is not cached.
    `deterministic` is False if two runs differ. `restore` gets the instance, the arguments by
    name and a kept value, and puts it where the host would have had it. `pack` makes plain values
    of a result that is of a class of its own; `restore` makes it again. `keep` looks at a result
    and says whether it is worth keeping (an empty text after an error is not). `version` is
    raised when a plugin changes the meaning of its keys.

    `resolve` gets the instance and the arguments by name, and returns them as the roles are to see
    them: what stands for the same made the same, defaults that the instance keeps filled in. It
    raises `Bypass` with a reason for calls that are not to be cached. `items` is for methods that
    take several recordings at once.

    Several methods of one name in a class are versions of a host: the first that fits is taken.

    The last two are for `cas-tool explain`, which finds keys without computing: `results` is how
    many values the method returns, and `composed` says that it does little itself but call other
    cached methods.

    `names` are those of the values in the tuple it returns, for people.
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
    pack: Callable[[Any], Any] | None = None
    resolve: Callable[[Any, Mapping[str, Any]], Mapping[str, Any]] | None = None
    items: Items | None = None
    names: Sequence[str] = ()


class Held(NamedTuple):
    """A method of something that an instance holds, such as a session that it calls directly.

    `find` gets an instance that has just been made, and returns the object, or None. The method is
    put on that one object, whoever else has it; what `method` declares gets it as the instance.
    """

    find: Callable[[Any], Any]
    method: Method


class HostClass(NamedTuple):
    """A class of a host, told by its structure: its name, and attributes it must own.

    `modules` are the last parts of names of modules it lives in ("tokenizer" also matches
    `some.fork.tokenizer`). `helpers` are functions of that module which its methods call; those
    that are there belong to the fingerprint with their source.

    `lacks` are attributes that it must not have itself: those of another version. `held` are
    methods that are not its own, but of what its instances hold.

    `voice` and `requests` are for `STEPAUDIO_CAS_WATCH`. `voice` has a live instance encode the
    recording at a path, as the host does with its own; of several classes that have it, the last
    is asked.
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
    lacks: Sequence[str] = ()
    held: Sequence[Held] = ()


class Plugin(NamedTuple):
    """A family of hosts.

    `loader` names a function, as "module:function", that loads what encodes a voice outside the
    host's server, with the host's own code: see docs/plugins.md.

    The last two are for `cas-tool bench`. `service` names a function like `loader` that loads the
    whole host, and returns what does a request from end to end with a recording. `stages` names
    methods, as "module:Class.method", in which such a request spends its time, by what they are
    ("llm", "vocoder"); what the plugin caches need not be named.
    """

    name: str
    classes: Sequence[HostClass]
    loader: str = ""
    service: str = ""
    stages: Mapping[str, Sequence[str]] = {}


def check(plugin: Plugin) -> None:
    """Raise `TypeError` for the mistakes that are easily made in a declaration."""
    _expect(plugin.loader, str, "the loader")
    _expect(plugin.service, str, "the service")
    for stage, methods in plugin.stages.items():
        if isinstance(methods, str):
            raise TypeError(f"stage {stage}: {methods!r} is one name where several are due")
    for host in plugin.classes:
        _expect(host, HostClass, "a class")
        for names in (host.modules, host.owns, host.helpers, host.requests, host.lacks):
            if isinstance(names, str):
                raise TypeError(f"{host.name}: {names!r} is one name where several are due")
            for name in names:
                _expect(name, str, f"{host.name}: a name")
        for one in host.held:
            _expect(one, Held, f"{host.name}: a method of what it holds")
        for method in (*host.methods, *(one.method for one in host.held)):
            _check_method(method, host.name)


def _check_method(method: Method, host: str) -> None:
    _expect(method, Method, f"{host}: a method")
    if method.items is not None:
        _expect(method.items, Items, f"{host}.{method.name}: what takes items apart")
    for role in method.arguments.values():
        _expect(role, Role, f"{host}.{method.name}: the role of an argument")


def _expect(thing: Any, kind: type, what: str) -> None:
    if not isinstance(thing, kind):
        raise TypeError(f"{what} is {thing!r:.60}, not a {kind.__name__}")
