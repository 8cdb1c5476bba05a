"""Recordings that sound like speech, the same ones every time: syllables of a synthetic voice."""

import numpy as np
import soundfile
from scipy.signal import lfilter

VOWELS = [
    (730, 1090, 2440),
    (270, 2290, 3010),
    (300, 870, 2240),
    (530, 1840, 2480),
    (570, 840, 2410),
]
WIDTHS = (80, 100, 140)


def speak(seconds, *, seed=0, rate=24000, pitch=120.0):
    """Return samples of a voice that says nothing: vowels, hisses, pauses, a moving pitch."""
    rng = np.random.default_rng(seed)
    pieces, length = [], 0
    while length < seconds * rate:
        duration = int(rate * rng.uniform(0.09, 0.28))
        kind = rng.choice(["vowel", "vowel", "vowel", "hiss", "pause"])
        if kind == "vowel":
            piece = _vowel(rng, duration, rate, pitch * rng.uniform(0.8, 1.3))
        elif kind == "hiss":
            piece = np.diff(rng.normal(0, 0.03, duration + 1))
        else:
            piece = np.zeros(duration)
        fade = np.minimum(1, np.minimum(np.arange(len(piece)), np.arange(len(piece))[::-1]) / 240)
        pieces.append(piece * fade)
        length += len(piece)
    samples = np.concatenate(pieces)[: int(seconds * rate)]
    samples += rng.normal(0, 3e-4, len(samples))  # the room
    return (0.7 * samples / np.abs(samples).max()).astype(np.float32)


def write_speech(path, seconds, *, seed=0, rate=24000, pitch=120.0):
    """Write such a recording as 16-bit WAV; return the path as text."""
    soundfile.write(path, speak(seconds, seed=seed, rate=rate, pitch=pitch), rate, "PCM_16")
    return str(path)


def _vowel(rng, duration, rate, pitch):
    time = np.arange(duration) / rate
    bend = pitch * (1 + rng.uniform(-0.2, 0.2) * time / max(time[-1], 1e-3))
    phase = np.cumsum(bend / rate) % 1.0
    sound = np.diff((1 - phase) ** 3, prepend=0.0)  # a pulse of the glottis each time it closes
    for centre, width in zip(VOWELS[rng.integers(len(VOWELS))], WIDTHS, strict=True):
        radius = np.exp(-np.pi * width / rate)
        angle = 2 * np.pi * centre / rate
        sound = lfilter([1 - radius], [1, -2 * radius * np.cos(angle), radius**2], sound)
    return sound / (np.abs(sound).max() + 1e-9) * rng.uniform(0.5, 1.0)
