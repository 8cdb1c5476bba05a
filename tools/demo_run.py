"""The demo: three processes of the reference host, and what the second left for the third.

Exits with 0 only if every request of the third process was a hit with the same tokens as the miss
that filled the store.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import fmean

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.hosts.speech import write_speech  # noqa: E402 - after the path to it

HOST = ROOT / "tests/hosts/reference"
STAGES = ("encode", "LLM", "vocoder", "other", "total")
TEXT = "Good morning, this is my voice."
VOICES = ({"seed": 1, "pitch": 115}, {"seed": 2, "pitch": 205}, {"seed": 3, "pitch": 160})


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("wavs", nargs="*", help="recordings; by default three synthetic ones")
    parser.add_argument("--seconds", type=float, default=10, help="length of a synthetic one")
    parser.add_argument("--size", default="demo", choices=["demo", "tiny"])
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="stepaudio-demo-") as folder:
        return run(Path(folder), args)


def run(folder, args):
    began = time.perf_counter()
    wavs = [os.path.abspath(wav) for wav in args.wavs] or [
        write_speech(folder / f"voice{n}.wav", args.seconds, **voice)
        for n, voice in enumerate(VOICES, 1)
    ]
    store = folder / "store"
    say("Making a model with random weights: FunASR's streaming Paraformer, an ONNX speech")
    say("tokenizer, a Llama in 4 bits where that loads, a vocoder.")
    model = folder / "model"
    program(folder, HOST / "make_model.py", model, "--size", args.size)

    columns = []
    for title, setting in [
        ("without", {}),
        ("first time", {"STEPAUDIO_CAS": str(store)}),
        ("new process", {"STEPAUDIO_CAS": str(store)}),
    ]:
        shown = " ".join(f"{name}={value}" for name, value in setting.items())
        say(f"\n$ {shown}{' ' if shown else ''}python …  # {len(wavs)} requests, one a recording")
        command = [ROOT / "tools/demo_host.py", HOST, model, TEXT, *wavs]
        done = program(folder, *command, **setting)
        said = [line for line in done.stderr.splitlines() if line.startswith("stepaudio-cas: ")]
        for line in said:
            if "preprocess_prompt_wav" in line:
                say(f"  {line}")
        columns.append((title, json.loads(done.stdout.splitlines()[-1]), said))

    (_, plain, unasked), (_, missed, _), (_, hit, said) = columns
    say(f"\nSeconds a request, mean of {len(wavs)}, on one core:\n")
    say(table([(title, requests) for title, requests, _ in columns]))
    hits = sum(bool(re.match(r"stepaudio-cas: hit .*preprocess_prompt_wav", x)) for x in said)
    same = sum(a["tokens"] == b["tokens"] for a, b in zip(missed, hit, strict=True))
    say(summary(plain, missed, hit, store))
    say(f"In the new process {hits} of {len(wavs)} requests were hits, {same} of them with exactly")
    say(f"the tokens of the miss before. The demo took {time.perf_counter() - began:.0f} s.")
    good = hits == same == len(wavs) and not unasked
    if not good:
        say("This is not as it should be.")
    return 0 if good else 1


def program(folder, *command, **setting):
    """Run Python as a deployment would, with no setting of this machine."""
    kept = {name: v for name, v in os.environ.items() if not name.startswith("STEPAUDIO_CAS")}
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        env={**kept, "XDG_CACHE_HOME": str(folder / "cache"), "OMP_NUM_THREADS": "1", **setting},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        sys.exit(f"{done.stderr[-4000:]}\n{command[0]} failed")
    return done


def table(columns):
    lines = [f"{'':10}" + "".join(f"{title:>22}" for title, _ in columns)]
    for stage in STAGES:
        cells = ""
        for _, requests in columns:
            seconds = fmean(request[stage] for request in requests)
            share = seconds / fmean(request["total"] for request in requests)
            cells += f"{seconds:>14.4f} s {share:>4.0%} "
        lines.append(f"{stage:10}{cells}")
    return "\n".join(lines)


def summary(plain, missed, hit, store):
    def mean(requests, stage):
        return fmean(request[stage] for request in requests)

    saved = sum(a["encode"] - b["encode"] for a, b in zip(missed, hit, strict=True))
    kept = [path for path in store.glob("v1/objects/*/*") if path.is_file()]
    size = sum(path.stat().st_size for path in kept) / 1000
    faster = mean(missed, "encode") / mean(hit, "encode")
    whole = mean(plain, "total") / mean(hit, "total")
    return (
        "\n“encode” is all that is made of the recording: its tokens, mel, speaker embedding."
        f"\nSaved: {saved:.2f} s of encoding in {len(hit)} requests. A hit takes 1/{faster:.0f} of"
        f" the encode, a whole\nrequest 1/{whole:.1f} of what it takes without."
        f" Kept on disk: {len(kept)} objects, {size:,.0f} kB."
    )


def say(text):
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
