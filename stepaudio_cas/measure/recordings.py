"""Recordings to ask a host for: some that it has met, and as many new ones as are needed.

A new one is a copy of which a few samples differ in their lowest bit: to the host it is the same
work, to the cache it is another voice.
"""

from __future__ import annotations

import array
import math
import os
import random
import struct
import sys
import wave
from typing import TYPE_CHECKING, Final

from stepaudio_cas.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Sequence

_RATE: Final = 24000
_SECONDS: Final = (3.0, 5.0)
_BITS: Final = 32
_STEPS: Final = 1024
_SYLLABLE: Final = 240
_LOUD: Final = 0.3


class Recordings:
    """Variants of some WAVs, written to a folder as they are asked for."""

    def __init__(self, paths: Sequence[str], folder: str) -> None:
        self._sources = [_Wav(path) for path in paths]
        self._folder = folder
        self._made = 0

    def __len__(self) -> int:
        return len(self._sources)

    def new(self, turn: int) -> str:
        """Write one that nobody has met; the sources take turns."""
        source = self._sources[turn % len(self._sources)]
        self._made += 1
        path = os.path.join(self._folder, f"{self._made}-{source.name}")
        with open(path, "wb") as file:
            file.write(source.variant(self._made))
        return path


class _Wav:
    """The bytes of a WAV, and where its samples are."""

    def __init__(self, path: str) -> None:
        self.name = os.path.basename(path)
        try:
            with open(path, "rb") as file:
                self._data = file.read()
            self._places = _places(self._data)
        except struct.error:
            raise SettingError(f"{path}: it is cut off before its samples") from None
        except (OSError, ValueError) as error:
            raise SettingError(f"{path}: {error}") from None

    def variant(self, number: int) -> bytes:
        """Write a number into the lowest bits of some samples, from the middle on."""
        data = bytearray(self._data)
        for bit, place in enumerate(self._places):
            data[place] ^= number >> bit & 1
        return bytes(data)


def _places(data: bytes) -> list[int]:
    """Find the lowest bytes of samples in the middle of a WAV's data."""
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        raise ValueError("it is no WAV")
    at, width = 12, 0
    while at + 8 <= len(data):
        name, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        if name == b"fmt ":
            width = struct.unpack_from("<H", data, at + 22)[0] // 8
        if name == b"data" and width:
            samples = min(size, len(data) - at - 8) // width
            first = at + 8 + width * (samples // 2)
            if samples < 2 * _BITS:
                raise ValueError("it is too short")
            return [first + width * number for number in range(_BITS)]
        at += 8 + size + size % 2
    raise ValueError("it is no WAV with samples")


def check(paths: Sequence[str]) -> None:
    """Raise `SettingError` for what cannot be varied."""
    for path in paths:
        _Wav(path)


def generate(folder: str) -> list[str]:
    """Write two recordings that sound a little like somebody talking."""
    made = []
    for number, seconds in enumerate(_SECONDS):
        path = os.path.join(folder, f"voice-{number}.wav")
        with wave.open(path, "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(_RATE)
            file.writeframes(_talk(seconds, 120.0 + 70.0 * number, random.Random(number)))  # noqa: S311
        made.append(path)
    return made


def _talk(seconds: float, pitch: float, chance: random.Random) -> bytes:
    """Repeat a voice's wave, swelling and ebbing with its syllables, with some breath in it."""
    wave_of = [_voice(2 * math.pi * step / _STEPS) for step in range(_STEPS)]
    breath = [chance.uniform(-0.1, 0.1) for _ in range(_STEPS)]
    samples, phase, pace = array.array("h"), 0.0, pitch * _STEPS / _RATE
    for number in range(0, int(seconds * _RATE), _SYLLABLE):
        swell = 32000 * _LOUD * (0.1 + 0.9 * math.sin(math.pi * 3.5 * number / _RATE) ** 2)
        high = pace * (1 + 0.1 * math.sin(2.1 * number / _RATE))
        start = chance.randrange(_STEPS)
        for step in range(_SYLLABLE):
            phase += high
            sound = wave_of[int(phase) % _STEPS] + breath[(start + step) % _STEPS]
            samples.append(int(swell * sound))
    if sys.byteorder == "big":
        samples.byteswap()
    return samples.tobytes()


def _voice(angle: float) -> float:
    return sum(math.sin(angle * n) / n for n in (1, 2, 3, 5)) / 2
