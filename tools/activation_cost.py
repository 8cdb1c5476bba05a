"""What being installed costs every interpreter, and what being switched on costs.

    python tools/activation_cost.py [--runs N] [--json FILE]

Two environments, one with our wheel and one without, start in turn, many times; the table shows
medians of the differences within a turn. CPU time is the one to go by on a busy machine.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
NEEDED = ("blake3", "msgpack", "fsspec")
NOTHING = "pass"
FOREIGN = "import a_foreign_module"
CONTENT = "import typing\n"  # as any host's first library does; so do our plugins


def make_environment(folder, wheel):
    """A virtual environment with byte code beside its modules, as an installer leaves them."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    packages = next((folder / "lib").glob("python3*")) / "site-packages"
    if wheel is not None:
        zipfile.ZipFile(wheel).extractall(packages)
    (packages / "a_foreign_module.py").write_text(CONTENT)
    for name in NEEDED:
        found = Path(__import__(name).__file__).parent
        (packages / name).symlink_to(found)
    python = folder / "bin" / "python"
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run([python, "-I", "-m", "compileall", "-q", packages], check=True, env=environment)
    return str(python)


def build_wheel(folder):
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return next(folder.glob("*.whl"))


def start(python, code, environment):
    """Start an interpreter; return the milliseconds it took, by the clock and of CPU."""
    began = time.perf_counter()
    pid = os.posix_spawn(python, [python, "-c", code], environment)
    _, status, usage = os.wait4(pid, 0)
    took = time.perf_counter() - began
    assert status == 0, f"{python} -c {code!r} ended with {status}"
    return took * 1e3, (usage.ru_utime + usage.ru_stime) * 1e3


def measure(runs, without, installed, store):
    """Return the times of starting without us, and for each way with us, what it takes more."""
    off = {"PATH": os.environ["PATH"]}
    on = off | {"STEPAUDIO_CAS": store}
    ways = {
        NOTHING: (without, NOTHING, off),
        FOREIGN: (without, FOREIGN, off),
        "unset": (installed, NOTHING, off),
        "set, nothing imported": (installed, NOTHING, on),
        "set, one foreign module imported": (installed, FOREIGN, on),
    }
    bare, more = [], {name: [] for name in LIMITS}
    names = list(ways)
    for turn in range(-5, runs):
        names.append(names.pop(0))  # nobody is always the first one
        took = {name: start(*ways[name]) for name in names}
        if turn < 0:
            continue  # warming up
        bare.append(took[NOTHING])
        for name, times in more.items():
            base = took[ways[name][1]]
            times.append([a - b for a, b in zip(took[name], base, strict=True)])
    return bare, more


LIMITS = {"unset": 0.2, "set, nothing imported": 30.0, "set, one foreign module imported": 30.0}


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        installed = make_environment(folder / "with", build_wheel(folder / "wheel"))
        without = make_environment(folder / "without", None)
        bare, more = measure(options.runs, without, installed, str(folder / "store"))
    bare = [statistics.median(column) for column in zip(*bare, strict=True)]
    print(f"Python {sys.version.split()[0]}, {options.runs} turns; starting without us:", end=" ")
    print(f"{bare[0]:.1f} ms, {bare[1]:.1f} ms of CPU\n")
    print("| variable | more time | more CPU | bar | |\n|---|---|---|---|---|")
    bars = []
    for name, limit in LIMITS.items():
        clock, cpu = (statistics.median(column) for column in zip(*more[name], strict=True))
        ok = min(clock, cpu) <= limit
        bars.append({"name": f"activation, {name}", "value": cpu, "limit": limit, "ok": ok})
        shown = "ok" if ok else "missed"
        print(f"| {name} | {clock:.2f} ms | {cpu:.2f} ms | {limit} ms | {shown} |")
    if options.json:
        options.json.write_text(json.dumps({"bars": bars}, indent=2))
    return 0 if all(bar["ok"] for bar in bars) else 1


if __name__ == "__main__":
    sys.exit(main())
