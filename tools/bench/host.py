"""The reference host with the cache: what a hit costs beside the encode, and beside hashing.

    python -m tools.bench.host [--size demo] [--runs 15] [--json FILE]

A process that encodes, then a new one that hits, the memory tier off. The bar of the composite
`preprocess_prompt_wav` is twice a BLAKE3 of the file, plus the bar of a disk hit: twice a BLAKE3 of
the input and a bare open and read of the entry's two files.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[2]
HOST: Final = ROOT / "tests/hosts/reference"
SECONDS: Final = 10.0
LEAST_RATIO: Final = 100.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--size", default="demo", choices=["demo", "tiny"])
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--inside", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        print(json.dumps(inside(*options.inside, options.runs)))
        return 0
    with tempfile.TemporaryDirectory(prefix="stepaudio-cas-bench-") as name:
        figures = measure(Path(name), options.size, options.runs)
    print(render(figures))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2))
    return 0 if all(bar["ok"] for bar in figures["bars"]) else 1


def measure(folder: Path, size: str, runs: int) -> dict[str, Any]:
    """Run the host in two processes: the first one encodes, the second one hits."""
    from tests.hosts.speech import write_speech

    model, wav = folder / "model", folder / "voice.wav"
    program(folder, HOST / "make_model.py", model, "--size", size)
    write_speech(wav, SECONDS, seed=1, rate=48000)
    words = ["-m", "tools.bench.host", "--runs", str(runs), "--inside", str(model), str(wav)]
    first, second = (json.loads(program(folder, *words).splitlines()[-1]) for _ in range(2))
    figures = {"size": size, "first": first, "second": second}
    figures["bars"] = [
        bar(
            "composite hit / (2 BLAKE3 of the file + 2 (BLAKE3 + open and read of the entry))",
            statistics.median(second["composite_shares"]),
            1.0,
        ),
        bar(
            "disk hit of wav2token / its encode",
            statistics.median(second["tokens"]) / first["tokens_first"],
            1 / LEAST_RATIO,
        ),
        bar(
            "composite hit / its encode",
            statistics.median(second["composite"]) / first["composite_first"],
            1 / LEAST_RATIO,
        ),
    ]
    return figures


def bar(name: str, value: float, limit: float) -> dict[str, Any]:
    return {"name": name, "value": value, "limit": limit, "ok": value <= limit}


def inside(model: str, wav: str, runs: int) -> dict[str, Any]:
    """Be the host: prepare the recording again and again, in turns with what it is compared to."""
    sys.path.insert(0, str(HOST))
    import torch
    from audio import load_audio
    from tokenizer import StepAudioTokenizer
    from tts import StepAudioTTS

    tts = StepAudioTTS(model, StepAudioTokenizer(model))
    torch.zeros(1) + 1
    audio, rate = load_audio(wav)
    found: dict[str, Any] = {"composite": [], "tokens": [], "reference": []}
    found["composite_first"] = timed(lambda: tts.preprocess_prompt_wav(wav))
    found["tokens_first"] = timed(lambda: tts.audio_tokenizer.wav2token(audio, rate))
    reference = make_reference(Path(wav).read_bytes(), Path(os.environ["STEPAUDIO_CAS"]))
    for _ in range(runs):
        found["reference"].append(timed(reference))
        found["composite"].append(timed(lambda: tts.preprocess_prompt_wav(wav)))
        found["tokens"].append(timed(lambda: tts.audio_tokenizer.wav2token(audio, rate)))
    pairs = zip(found["composite"], found["reference"], strict=True)
    found["composite_shares"] = [ours / theirs for ours, theirs in pairs]
    return found


def make_reference(data: bytes, store: Path) -> Any:
    """Return what the bar allows: four hashes of the file, and the largest entry read twice."""
    from blake3 import blake3

    manifest = max(store.glob("v1/manifests/*/*.json"), key=manifest_size)
    digest = json.loads(manifest.read_bytes())["object"]
    files = [manifest, store / "v1/objects" / digest[:2] / digest]

    def reference() -> None:
        for _ in range(4):
            blake3(data).digest()
        for path in files * 2:
            with open(path, "rb", buffering=0) as file:
                file.read()

    return reference


def manifest_size(path: Path) -> int:
    return int(json.loads(path.read_bytes())["size"])


def timed(call: Any) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def program(folder: Path, *words: Any) -> str:
    kept = {name: v for name, v in os.environ.items() if not name.startswith("STEPAUDIO_CAS")}
    settings = {
        "STEPAUDIO_CAS": str(folder / "store"),
        "STEPAUDIO_CAS_MEMORY": "0",
        "STEPAUDIO_CAS_LOG": "off",
        "XDG_CACHE_HOME": str(folder / "cache"),
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, *map(str, words)]
    done = subprocess.run(
        command, cwd=ROOT, env=kept | settings, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{done.stderr[-4000:]}\n{words[0]} failed")
    return done.stdout


def render(figures: dict[str, Any]) -> str:
    first, second = figures["first"], figures["second"]
    lines = [
        f"Reference host, size {figures['size']}, {SECONDS:.0f} s of 48 kHz speech, one core:",
        "",
        "| | encode, first process | disk hit, new process (median) | encode / hit |",
        "|---|---|---|---|",
    ]
    for title, name in (("`preprocess_prompt_wav`", "composite"), ("`wav2token`", "tokens")):
        encode, hit = first[f"{name}_first"], statistics.median(second[name])
        lines.append(f"| {title} | {encode:.2f} s | {hit * 1e3:.2f} ms | {encode / hit:.0f} x |")
    lines += ["", "| bar | value | at most | reached |", "|---|---|---|---|"]
    for found in figures["bars"]:
        reached = "yes" if found["ok"] else "**no**"
        lines.append(
            f"| {found['name']} | {found['value']:.3g} | {found['limit']:.3g} | {reached} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
