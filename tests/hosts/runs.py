"""Processes of the reference host, each run once for all tests that look at it."""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch

from tests.hosts.speech import write_speech

HERE = Path(__file__).parent
HOST = HERE / "reference"


def all_runs(folder):
    """Return what each process did, by name."""
    return shared_answer(folder, _run_all)


def shared_answer(folder, run_all):
    """Return what `run_all(folder)` did. Workers that ask at the same time share one answer."""
    folder.mkdir(exist_ok=True)
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        answer = folder / "runs.json"
        if not answer.exists():
            answer.write_text(json.dumps(run_all(folder)))
        return json.loads(answer.read_text())


def copy_model(base, folder):
    """Copy the tiny model of the reference host; it is made once, in `base`, for all workers."""

    def make(made):
        _program(HOST / "make_model.py", made / "model", "--size", "tiny")

    shared_answer(base / "tiny", make)
    return shutil.copytree(base / "tiny/model", folder)


def _run_all(folder):
    store, kept = folder / "store", folder / "kept"
    model = copy_model(folder.parent, folder / "model")
    a = write_speech(folder / "a.wav", 4, seed=1)
    b = write_speech(folder / "b.wav", 3, seed=2, pitch=210)
    spoken = [
        ["load", {}],
        ["tokens", {"wav": a, "seed": 7}],
        ["text", {"wav": a, "seed": 7}],
        ["text", {"wav": a, "seed": 8}],
        ["stream", {"wav": a, "seed": 7}],
        ["stream", {"wav": a, "seed": 8}],
        ["prompt", {"wav": a, "seed": 7}],
        ["modules", {}],
    ]
    again = [
        ["load", {}],
        ["tokens", {"wav": a, "seed": 9}],
        ["prompt", {"wav": a, "seed": 9}],
        ["remove", {"path": str(store)}],
        ["tokens", {"wav": a, "seed": 7}],
    ]
    only_reading = [
        ["load", {}],
        ["tokens", {"wav": a, "seed": 9}],
        ["tokens", {"wav": b, "seed": 9}],
        *_swapped(folder, model, a),
        ["load", {}],
        ["tokens", {"wav": a, "seed": 9}],
    ]
    with ThreadPoolExecutor(3) as pool:
        plain = pool.submit(_drive, folder, model, spoken)
        first = pool.submit(_drive, folder, model, spoken, STEPAUDIO_CAS=store)
        service = pool.submit(_serve, folder, model, a)
        runs = {"plain": plain.result(), "first": first.result()}
        shutil.copytree(store, kept)
        before = sorted(str(path) for path in kept.rglob("*"))
        no_memory = {"STEPAUDIO_CAS": store, "STEPAUDIO_CAS_MEMORY": "0"}
        read_only = {"STEPAUDIO_CAS": kept, "STEPAUDIO_CAS_MODE": "ro"}
        second = pool.submit(_drive, folder, model, again, **no_memory)
        # A copy: the other process still needs the model as it was.
        copy = shutil.copytree(model, folder / "swapped")
        third = pool.submit(_drive, folder, copy, only_reading, **read_only)
        runs |= {"second": second.result(), "read-only": third.result()}
        runs["service"] = service.result()
    runs["written while read-only"] = sorted(
        set(map(str, kept.rglob("*"))).symmetric_difference(before)
    )
    return runs


def _swapped(folder, model, wav):
    """Steps that swap a file of the model, encode, and put it back: code book, then encoder."""
    copy = folder / "swapped"
    codes = np.load(model / "linguistic_tokenizer.npy")
    np.save(folder / "codes.npy", codes[::-1].copy())
    weights = torch.load(model / "paraformer-online/model.pt", weights_only=True)["state_dict"]
    weights["encoder.after_norm.bias"] += 1.0
    torch.save({"state_dict": weights}, folder / "weights.pt")
    steps = []
    for name, other in [
        ("linguistic_tokenizer.npy", "codes.npy"),
        ("paraformer-online/model.pt", "weights.pt"),
    ]:
        steps += [
            ["replace", {"path": str(copy / name), "by": str(folder / other)}],
            ["load", {}],
            ["tokens", {"wav": wav, "seed": 9}],
            ["replace", {"path": str(copy / name), "by": str(model / name)}],
        ]
    return steps


def _drive(folder, model, steps, **settings):
    """Run the steps in a process of their own; return [result, lines of ours] for each."""
    done = subprocess.run(
        [sys.executable, HERE / "drive_reference.py", HOST, model],
        input=json.dumps(steps),
        env=_environment(folder, settings),
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    results = json.loads(done.stdout.splitlines()[-1])
    said = [_ours(part) for part in done.stderr.split("@step\n")[1:]]
    return {"start": _ours(done.stderr), "steps": list(zip(results, said, strict=True))}


def _serve(folder, model, wav):
    """Run `python app.py` as a deployment does; ask it the same thing twice."""
    errors = folder / "service.log"
    with open(errors, "w") as stderr:
        service = subprocess.Popen(
            [sys.executable, "app.py", "--model-path", model, "--port", "0"],
            cwd=HOST,
            env=_environment(folder, {"STEPAUDIO_CAS": folder / "store-of-the-service"}),
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
    try:
        printed = []
        url = ""
        while not url:
            printed.append(service.stdout.readline())
            assert printed[-1], errors.read_text()[-4000:]
            url = printed[-1].partition("serving on ")[2].strip()
        url += "/clone?text=Good%20morning"
        answers = [_post(url, Path(wav).read_bytes()) for _ in range(2)]
    finally:
        service.terminate()
        rest, _ = service.communicate(timeout=60)
    return {
        "answers": answers,
        "said": _ours(errors.read_text()),
        "stdout": "".join(printed) + rest,
    }


def _post(url, body):
    request = urllib.request.Request(url, body, {"Content-Type": "audio/wav"})
    with urllib.request.urlopen(request, timeout=300) as answer:
        data = answer.read()
        kind = answer.headers["Content-Type"]
    return {"type": kind, "begins": data[:4].decode(), "sha256": hashlib.sha256(data).hexdigest()}


def _program(path, *arguments):
    command = [sys.executable, path, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stderr[-4000:]


def _environment(folder, settings):
    kept = {name: v for name, v in os.environ.items() if not name.startswith("STEPAUDIO_CAS")}
    settings = {name: str(value) for name, value in settings.items()}
    return {**kept, "XDG_CACHE_HOME": str(folder / "xdg"), "OMP_NUM_THREADS": "1", **settings}


def _ours(stderr):
    return [line for line in stderr.splitlines() if "stepaudio-cas" in line]
