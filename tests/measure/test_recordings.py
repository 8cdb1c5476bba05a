"""Recordings that are new to a cache and the same work to a host."""

import struct
import wave

import pytest

from stepaudio_cas.errors import SettingError
from stepaudio_cas.measure.recordings import Recordings, check, generate


@pytest.fixture
def voices(tmp_path):
    (tmp_path / "made").mkdir()
    return generate(str(tmp_path / "made"))


def samples(path):
    with wave.open(path) as file:
        data = file.readframes(file.getnframes())
    return struct.unpack(f"<{len(data) // 2}h", data)


def test_variants_differ_from_each_other_by_lowest_bits(voices, tmp_path):
    recordings = Recordings(voices[:1], str(tmp_path))
    made = [samples(recordings.new(0)) for _ in range(9)]
    assert len(set(made)) == 9
    first = samples(voices[0])
    for variant in made:
        differences = [(a, b) for a, b in zip(first, variant, strict=True) if a != b]
        assert 1 <= len(differences) <= 3
        assert all(a ^ b == 1 for a, b in differences)


def test_sources_take_turns(voices, tmp_path):
    recordings = Recordings(voices, str(tmp_path))
    assert len(recordings) == 2
    names = [recordings.new(turn).rpartition("-voice-")[2] for turn in (0, 1, 2)]
    assert names == ["0.wav", "1.wav", "0.wav"]


def test_other_formats_and_chunks_are_known(tmp_path):
    # 24 bits, two channels, a chunk of odd length before the samples, one after them
    head = struct.pack("<HHIIHH", 1, 2, 48000, 288000, 6, 24)
    chunks = b"fmt " + struct.pack("<I", 16) + head + b"odd " + struct.pack("<I", 3) + b"abc\0"
    chunks += b"data" + struct.pack("<I", 1200) + bytes(1200) + b"LIST" + struct.pack("<I", 0)
    data = b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks
    path = tmp_path / "a.wav"
    path.write_bytes(data)
    with open(Recordings([str(path)], str(tmp_path)).new(0), "rb") as file:
        variant = file.read()
    changed = [place for place, (a, b) in enumerate(zip(data, variant, strict=True)) if a != b]
    start = data.index(b"data") + 8
    assert [(place - start) % 3 for place in changed] == [0]


@pytest.mark.parametrize("data", [b"", b"RIFF", b"RIFF....WAVE", b"RIFF....WAVEdata\4\0\0\0abcd"])
def test_what_is_no_wav_is_named(tmp_path, data):
    path = tmp_path / "a.wav"
    path.write_bytes(data)
    with pytest.raises(SettingError, match=r"a\.wav: it is no WAV"):
        check([str(path)])


def test_what_is_cut_off_is_named(tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(b"RIFF....WAVEfmt \20\0\0\0\1\0")
    with pytest.raises(SettingError, match=r"a\.wav: it is cut off before its samples"):
        check([str(path)])
