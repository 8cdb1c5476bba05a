"""What a tuner declares: an entry point of the group `stepaudio_cas.tuners` names several."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


class Tuner(NamedTuple):
    """What takes care of some words.

    `modules` maps last parts of module names to what is called, with the module's namespace and
    the plan, whenever such a module has been imported: perhaps again, perhaps only in part.
    `trouble` says why a word of a plan cannot be in force here; empty if it can.
    """

    words: Sequence[str]
    modules: Mapping[str, Callable[[Mapping[str, Any], Mapping[str, Any]], None]]
    trouble: Callable[[str, Mapping[str, Any]], str]
