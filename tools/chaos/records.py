"""What the processes of a run tell each other: a board that all see, and logs that all write.

All times are those of one monotonic clock, which on one machine is the same for every process.
"""

from __future__ import annotations

import enum
import struct
from mmap import ACCESS_READ, mmap
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_BOARD: Final = struct.Struct("<qqqqd")
_ENCODE: Final = struct.Struct("<qqdd?")
_CALL: Final = struct.Struct("<qqddddBB")

FOREIGN: Final = -1
"""Stands for the run that a value comes from, where it comes from none."""


class Phase(enum.IntEnum):
    """What goes on.

    In `AGREE` everybody asks for the same new voices, once, and in `CONFIRM` once more, when all
    has arrived where it belongs.
    """

    STARTING = 0
    CALM = 1
    CHAOS = 2
    RECOVER = 3
    AGREE = 4
    CONFIRM = 5
    STOP = 6


class Sight(NamedTuple):
    """What is on the board: voices `0..voices` are there to be asked for."""

    phase: Phase
    voices: int
    life: int
    first: int
    mended: float


class Board:
    """One page of memory that the conductor writes and every worker reads.

    `life` counts the hosts that have come and gone in one place; `first` is the first of the
    voices to agree on; `mended` is when the last fault was over.
    """

    def __init__(self, path: Path, *, create: bool = False) -> None:
        if create:
            path.write_bytes(_BOARD.pack(0, 0, 0, 0, 0.0))
        with open(path, "r+b" if create else "rb") as file:
            self._memory = (
                mmap(file.fileno(), 0) if create else mmap(file.fileno(), 0, access=ACCESS_READ)
            )

    def look(self) -> Sight:
        phase, voices, life, first, mended = _BOARD.unpack(self._memory[: _BOARD.size])
        return Sight(Phase(phase), voices, life, first, mended)

    def show(self, **changes: float) -> None:
        sight = self.look()._replace(**changes)
        self._memory[: _BOARD.size] = _BOARD.pack(*sight)


class Encode(NamedTuple):
    """One run of the host's encoder. `raised` it an exception of its own?"""

    voice: int
    nonce: int
    begin: float
    end: float
    raised: bool


class Call(NamedTuple):
    """One call of a host: which run's result it got, and whether that was computed for it.

    `stall` is how long the machine did not let this process work meanwhile, `disk` how long its own
    disk had it wait; `new` tells that nothing was known yet of how long an encode takes.
    """

    voice: int
    nonce: int
    begin: float
    end: float
    stall: float
    disk: float
    phase: int
    flags: int

    @property
    def hit(self) -> bool:
        return bool(self.flags & 1)

    @property
    def new(self) -> bool:
        return bool(self.flags & 2)

    @property
    def ended_otherwise(self) -> bool:
        """Whether the encoder's own exception did not come through, or one came that is ours."""
        return bool(self.flags & 4)

    @property
    def raised(self) -> bool:
        return bool(self.flags & 8)


class Log:
    """Records of one kind, appended whole: each is on its way before anybody acts upon it."""

    def __init__(self, path: Path, kind: type[Encode | Call]) -> None:
        self._file = open(path, "ab", buffering=0)  # noqa: SIM115 - for as long as the process
        self._form = _FORMS[kind]

    def write(self, record: Encode | Call) -> None:
        self._file.write(self._form.pack(*record))

    def close(self) -> None:
        self._file.close()


def read_log(path: Path, kind: type) -> Iterator:
    """Yield what was logged; a last record that was cut short is left out."""
    form = _FORMS[kind]
    data = path.read_bytes() if path.exists() else b""
    for at in range(0, len(data) - form.size + 1, form.size):
        yield kind(*form.unpack_from(data, at))


_FORMS: Final = {Encode: _ENCODE, Call: _CALL}
