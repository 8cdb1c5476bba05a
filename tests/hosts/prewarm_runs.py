"""Voices prewarmed for the reference host, and the host asked for them: run once for all tests."""

import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import soundfile

from tests.hosts.runs import HOST, _drive, _environment, copy_model, shared_answer
from tests.hosts.speech import speak

ASKED = "prompt,tokens"
REFUSED = ("broken.wav", "refused.m4a")
TOOL = [sys.executable, "-m", "stepaudio_cas"]


def all_runs(folder):
    """Return what each process did, by name."""
    return shared_answer(folder, _run_all)


def write_voices(folder):
    """Write a voice in each format that the host's sound library knows, and what it refuses.

    All but one are so loud that the host limits their peak.
    """
    folder.mkdir()
    samples, high = speak(2.5, seed=3), speak(2.5, seed=6, rate=48000)
    both = np.stack([speak(2.5, seed=4, rate=44100), speak(2.5, seed=5, rate=44100)], axis=1)
    for name, data, rate, subtype in [
        ("plain.wav", samples, 24000, "PCM_16"),
        ("quiet.wav", samples[:30000] * 0.4, 16000, "PCM_16"),
        ("stereo.wav", both, 44100, "FLOAT"),
        ("lossless.flac", samples[:36000], 24000, "PCM_16"),
        ("stereo.flac", both[:90000], 44100, "PCM_24"),
        ("small.mp3", samples[:48000], 24000, None),
        ("stereo.mp3", both[:80000], 44100, None),
        ("free.ogg", samples[:40000], 24000, None),
        ("stereo.ogg", both[:70000], 44100, None),
        ("clear.aiff", high, 48000, "PCM_16"),
    ]:
        soundfile.write(folder / name, data, rate, subtype)
    soundfile.write(folder / "speech.opus", high[:96000], 48000, "OPUS", format="OGG")
    (folder / "broken.wav").write_bytes(b"RIFF")
    (folder / "refused.m4a").write_bytes(b"\0\0\0\x1cftypM4A \0\0\0\0M4A isommp42")
    return sorted(str(path) for path in folder.iterdir() if path.name not in REFUSED)


def _run_all(folder):
    model, store = copy_model(folder.parent, folder / "model"), folder / "store"
    voices = write_voices(folder / "voices")
    spec = f"stepaudio:{HOST}?model={model}"
    first = _tool(folder, store, "prewarm", folder / "voices", "--host", f"{spec}&ask={ASKED}")
    steps = [["load", {}]]
    for voice in voices:
        steps += [["prompt", {"wav": voice, "seed": 1}], ["tokens", {"wav": voice, "seed": 1}]]
    settings = {"STEPAUDIO_CAS": store, "STEPAUDIO_CAS_MEMORY": "0"}
    copy = shutil.copytree(model, folder / "changed")  # the other process needs it as it was
    book = copy / "linguistic_tokenizer.npy"
    np.save(book, np.load(book)[::-1].copy())
    with ThreadPoolExecutor(2) as pool:
        watched = pool.submit(_watch, folder, model, voices[:3])
        asked = pool.submit(_drive, folder, model, steps, **settings)
        host = f"stepaudio:{HOST}?model={copy}"
        changed = pool.submit(_tool, folder, store, "explain", voices[0], "--host", host)
        runs = {"voices": voices, "first": first}
        runs |= {"asked": asked.result(), "changed": changed.result()}
        return {**runs, "watched": watched.result()}


def _watch(folder, model, voices):
    """Have a deployment watch a folder with some of the voices, and then ask it for them."""
    presets, store = folder / "presets", folder / "store-of-presets"
    presets.mkdir()
    copies = [shutil.copy(voice, presets) for voice in voices]
    steps = [["load", {}], ["until", {"folder": f"{store}/v1/pins", "files": 4 * len(voices)}]]
    steps += [["prompt", {"wav": str(voice), "seed": 1}] for voice in copies]
    settings = {"STEPAUDIO_CAS_MEMORY": "0", "XDG_STATE_HOME": folder / "states"}
    return _drive(
        folder, model, steps, STEPAUDIO_CAS=store, STEPAUDIO_CAS_WATCH=presets, **settings
    )


def _tool(folder, store, *words):
    done = subprocess.run(
        [*TOOL, "--store", store, *map(str, words), "--json"],
        env=_environment(folder, {}),
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.stdout, done.stderr[-4000:]
    return {"code": done.returncode, "said": json.loads(done.stdout)}
