"""Whether installing us would move a package that the first host has pinned.

    python3.10 tools/pins.py

Makes an environment as the host pins it, and asks pip's resolver what installing our wheel, with
each of the extras for stores, would change there. Nothing is installed. Needs a package index.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
PINS = (
    "numpy==2.2.6",
    "transformers==4.53.3",
    "protobuf==5.29.3",
    "gradio==5.49.1",
    "datasets==4.0.0",
)
EXTRAS = ("", "[s3]", "[gcs]", "[redis]", "[s3,gcs,redis]")


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
        pip = [folder / "venv/bin/python", "-m", "pip", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "install", "--upgrade", "pip", "build"], check=True)
        subprocess.run([*pip, "install", *PINS], check=True)
        build = [folder / "venv/bin/python", "-m", "build", "--wheel", "-o", folder / "dist", ROOT]
        subprocess.run(build, check=True, stdout=subprocess.DEVNULL)
        wheel = next((folder / "dist").glob("*.whl"))
        listing = [*pip[:3], "list", "--format=json", "--disable-pip-version-check"]
        listed = subprocess.run(listing, check=True, capture_output=True)
        before = {
            p["name"].lower().replace("_", "-"): p["version"] for p in json.loads(listed.stdout)
        }
        print(f"Python {sys.version.split()[0]}, {', '.join(PINS)}; fsspec {before['fsspec']}")
        return max(report(pip, folder, f"{wheel}{extra}", extra, before) for extra in EXTRAS)


def report(pip, folder, wanted, extra, before):
    """Say what would be added and what moved; return 1 if anything would be moved."""
    answer = folder / "report.json"
    command = [*pip, "install", "--dry-run", "--report", answer, wanted]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"stepaudio-cas{extra}: cannot be installed there: {done.stderr.strip()}")
        return 1
    found = [item["metadata"] for item in json.loads(answer.read_text())["install"]]
    names = {item["name"].lower().replace("_", "-"): item["version"] for item in found}
    moved = {n: f"{before[n]} -> {v}" for n, v in names.items() if n in before}
    added = ", ".join(f"{n} {v}" for n, v in sorted(names.items()) if n not in before)
    print(f"stepaudio-cas{extra}: moves {moved or 'nothing'}; adds {added}")
    return 1 if moved else 0


if __name__ == "__main__":
    sys.exit(main())
