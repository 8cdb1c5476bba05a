"""What a plugin declares: which methods of which host classes, and how their keys are made.

A plugin module has one `Plugin` in it, named by an entry point of the group
`stepaudio_cas.plugins`. It is imported while the host starts, so it imports nothing heavy itself.
docs/plugins.md teaches this in one page.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

GROUP = "stepaudio_cas.plugins"


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
    """What was loaded: `files` by role (weights, configurations), `arrays` by name (code books),
    `settings` that were fixed then, and `code`: classes and functions whose source files count.
    """  # noqa: D205

    files: Mapping[str, str | None] = {}
    arrays: Mapping[str, Any] = {}
    settings: Mapping[str, Any] = {}
    code: Sequence[Any] = ()


class Model(NamedTuple):
    """What a method computes with, besides its arguments, as it is in this instance right now.

    `loaded` are the objects that hold the model: as long as they are the same ones, `parts` is
    not called again. `settings` are values that may differ from call to call, read each time.
    """

    loaded: tuple[Any, ...]
    parts: Callable[[], Parts]
    settings: Mapping[str, Any] = {}


class Method(NamedTuple):
    """One method that is cached.

    `arguments` names every parameter (but `self`) in order, with its role: a host whose method
    has others is another version, and is left alone with a line that says so. `model` looks at
    the instance; while nothing is loaded it returns None, and the call is not cached.
    `deterministic` is False if two runs differ. `restore` gets the instance, the arguments by
    name and a kept value, and puts it where the host would have had it. `keep` looks at a result
    and says whether it is worth keeping (an empty text after an error is not). `version` is
    raised when a plugin changes the meaning of its keys.
    """

    name: str
    arguments: Mapping[str, Role]
    model: Callable[[Any], Model | None]
    deterministic: bool = True
    restore: Callable[[Any, Mapping[str, Any], Any], Any] | None = None
    keep: Callable[[Any], bool] | None = None
    version: int = 1


class HostClass(NamedTuple):
    """A class of a host, told by its structure: its name, and attributes it must own.

    `modules` are the last parts of names of modules it lives in ("tokenizer" also matches
    `some.fork.tokenizer`). `helpers` are functions of that module which its methods call; those
    that are there belong to the fingerprint with their source.
    """

    name: str
    modules: Sequence[str]
    owns: Sequence[str]
    methods: Sequence[Method]
    helpers: Sequence[str] = ()


class Plugin(NamedTuple):
    """A family of hosts."""

    name: str
    classes: Sequence[HostClass]
