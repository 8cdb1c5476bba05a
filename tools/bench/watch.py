#!/usr/bin/env python
"""What `cas-tool watch` costs: thousands of voices at once, and doing nothing.

    python -m tools.bench.watch [--voices 5000] [--work 0.01] [--files 10000] [--seconds 60]

The host is the small one of the tests, made to work for so many seconds on each voice. The bare
loop encodes the same voices one after the other in one process, as the daemon's process does, into
a store of its own. The daemon is given them all at once, while it runs. Both pin.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from stepaudio_cas.maintenance.inventory import pinned
from stepaudio_cas.store.local import LocalBackend
from tests.prewarm.small_host import SmallHost

WORK = """
import time
until = time.perf_counter() + {work}
while time.perf_counter() < until:
    pass
"""

BARE = """
import json, sys, time
from stepaudio_cas.activation.loading import parse_host
from stepaudio_cas.cli.hosts import Opening
from stepaudio_cas.cli.prewarm import _pin
from stepaudio_cas.prewarm.encode import Encoding
from stepaudio_cas.prewarm.voices import find

spec, store, folder = sys.argv[1:]
host, encode = Opening(parse_host(spec), store)(), Encoding(_pin)
voices = list(find([folder]))
encode(host, voices[0])
started = time.perf_counter()
states = [encode(host, voice).state for voice in voices[1:]]
seconds = time.perf_counter() - started
host.close()
assert set(states) == {"new"}, set(states)
print(json.dumps(seconds))
"""


class Scene:
    """A small host that works for a while on each voice, and a folder."""

    def __init__(self, folder: Path, work: float) -> None:
        self.folder, self.small = folder, SmallHost(folder / "small")
        encoder = self.small.code / "encoder.py"
        inside = WORK.format(work=work).strip().replace("\n", "\n        ")
        text = encoder.read_text().replace("        words =", f"        {inside}\n        words =")
        assert inside in text
        encoder.write_text(text)
        path = os.pathsep.join([str(self.small.site), *sys.path])
        self.environment = {**os.environ, "PYTHONPATH": path, "STEPAUDIO_CAS_LOG": "error"}

    def fill(self, name: str, count: int) -> Path:
        folder = self.folder / name
        folder.mkdir()
        for number in range(count):
            (folder / f"{number:05}.wav").write_text(f"la {number}")
        return folder

    def bare(self, folder: Path) -> float:
        words = [
            sys.executable,
            "-c",
            BARE,
            self.small.spec,
            str(self.folder / f"bare-{folder.name}"),
            str(folder),
        ]
        done = subprocess.run(words, env=self.environment, stdout=subprocess.PIPE, check=True)
        return json.loads(done.stdout)

    def watch(self, folder: Path, store: str, *more: str) -> subprocess.Popen[str]:
        words = [sys.executable, "-m", "stepaudio_cas", "--store", str(self.folder / store),
                 "watch", str(folder), "--host", self.small.spec, "--json",
                 "--state", str(self.folder / "states"), *more]  # fmt: skip
        return subprocess.Popen(words, env=self.environment, stdout=subprocess.PIPE, text=True)


def hear(process: subprocess.Popen[str], count: int) -> None:
    for _ in range(count):
        line = json.loads(process.stdout.readline())
        assert line["state"] in {"new", "there"}, line


def family(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(deeper for child in children for deeper in family(int(child)))]


def cpu_seconds(pid: int) -> float:
    found = 0.0
    for one in family(pid):
        fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        found += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return found


def peak_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024


def at_once(scene: Scene, count: int) -> dict[str, float]:
    """Give a running daemon so many voices at once."""
    staged = scene.fill(f"voices-{count}", count)
    bare = scene.bare(staged)
    watched = scene.folder / f"watched-{count}"
    watched.mkdir()
    process = scene.watch(watched, f"store-{count}")
    first, *rest = sorted(staged.iterdir())
    (watched / first.name).write_bytes(first.read_bytes())
    hear(process, 1)  # the host is loaded
    before, started = cpu_seconds(process.pid), time.perf_counter()
    for path in rest:
        (watched / path.name).write_bytes(path.read_bytes())
    hear(process, len(rest))
    seconds = time.perf_counter() - started
    cpu, peak = cpu_seconds(process.pid) - before, peak_mb(process.pid)
    process.terminate()
    process.wait()
    lost = 2 * count - len(pinned(LocalBackend(scene.folder / f"store-{count}")))
    return {
        "voices": count, "bare_s": round(bare, 2), "watch_s": round(seconds, 2),
        "overhead_%": round(100 * (seconds / bare - 1), 1), "cpu_s": round(cpu, 2),
        "daemon_peak_mb": round(peak, 1), "keys_not_pinned": lost,
    }  # fmt: skip


def idle(scene: Scene, count: int, seconds: float, *more: str) -> dict[str, float]:
    """Have a daemon watch a folder in which nothing happens."""
    folder = scene.folder / f"idle-{count}"
    if not folder.exists():
        scene.fill(folder.name, count)
    process = scene.watch(folder, "idle-store", *more)
    hear(process, count)
    status = [sys.executable, "-m", "stepaudio_cas", "watch", "--status", "--json"]
    status += ["--state", str(scene.folder / "states"), str(folder)]
    while True:
        done = subprocess.run(status, env=scene.environment, stdout=subprocess.PIPE, check=False)
        state = json.loads(done.stdout)["folders"][0]
        if state["status"] == "idle":
            break
        time.sleep(0.5)
    before, started = cpu_seconds(process.pid), time.perf_counter()
    time.sleep(seconds)
    share = (cpu_seconds(process.pid) - before) / (time.perf_counter() - started)
    peak = peak_mb(process.pid)
    process.terminate()
    process.wait()
    return {
        "files": count, "mode": state["mode"], "cpu_%": round(100 * share, 3),
        "daemon_peak_mb": round(peak, 1),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--voices", type=int, default=5000)
    parser.add_argument("--work", type=float, default=0.01, help="seconds for each voice")
    parser.add_argument("--files", type=int, default=10000)
    parser.add_argument("--seconds", type=float, default=60.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scene = Scene(Path(folder) / "busy", options.work)
        print(json.dumps(at_once(scene, options.voices // 10)))
        print(json.dumps(at_once(scene, options.voices)))
        scene = Scene(Path(folder) / "idle", 0.0)
        print(json.dumps(idle(scene, options.files, options.seconds)))
        print(json.dumps(idle(scene, options.files, options.seconds, "--poll")))


if __name__ == "__main__":
    main()
