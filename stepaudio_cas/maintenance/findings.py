"""What `verify` finds, and how a store is cut into shares."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from stepaudio_cas.store import layout

if TYPE_CHECKING:
    from stepaudio_cas.maintenance.repair import Outcome

NOTES: Final = frozenset({"orphan", "leftover", "fingerprint-missing", "format"})
"""What costs no hit: waste that is taken away in time, and what this version cannot judge."""

STRAY: Final = "nothing of ours has such a name"


class Finding(NamedTuple):
    """Something that is not as it should be.

    `kind` says what is wrong, `what` of which sort the document is. `done` is what has been done
    about it, and `mended` whether it is whole now.
    """

    kind: str
    what: str
    path: str
    detail: str = ""
    done: str = ""
    mended: bool = False

    @property
    def is_note(self) -> bool:
        """Tell whether it is only worth knowing, and nothing is damaged."""
        return self.kind in NOTES

    def after(self, outcome: Outcome) -> Finding:
        """Add what has been done."""
        return self._replace(done=outcome.done, mended=outcome.whole)


class Share(NamedTuple):
    """One of `of` parts of a store, by the numbers of its shards; together they are the store.

    What can only be said of the store as a whole (orphans) belongs to the last part.
    """

    number: int = 1
    of: int = 1

    @property
    def shards(self) -> list[str]:
        """The shards of this part."""
        return [s for n, s in enumerate(layout.SHARDS) if n % self.of == self.number - 1]

    @property
    def is_last(self) -> bool:
        """Tell whether the whole has been seen after this part."""
        return self.number == self.of
