#!/usr/bin/env python
"""Make a local store of many plausible entries, to see how things go with a million of them.

    python tools/make_store.py /tmp/store --entries 1000000

Keys, objects, manifests, fingerprints, pins and counters are made by the project's own code; only
the files are written more directly than a store does it, into a folder that nobody else uses yet.
The same seed and `--now` give the same store, byte for byte and second for second. A million
entries take some minutes, and 8 GB on a disk with blocks of 4 KB.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from struct import Struct
from typing import Final, NamedTuple

if not __package__:
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from blake3 import blake3

from stepaudio_cas.artifact import codec
from stepaudio_cas.artifact.manifest import Manifest
from stepaudio_cas.identity.digest import digest_bytes
from stepaudio_cas.identity.files import FileDigest
from stepaudio_cas.identity.fingerprint import Fingerprint, make_fingerprint
from stepaudio_cas.identity.recipe import Input, Recipe, recipe_of
from stepaudio_cas.store import layout
from stepaudio_cas.store.counters import Subject, Tally, dump_tally
from stepaudio_cas.store.hottest import Heat, Hottest
from stepaudio_cas.store.local import LocalBackend

DAY: Final = 86400
NAMES: Final = ("anna", "boris", "chen", "dalia", "emeka", "farah", "goro", "hana")
PRODUCER: Final = {"version": "0.1", "host": "gpu-1", "python": "3.10.14", "torch": "2.6.0"}
PROCESSES: Final = 8
_PICKS: Final = Struct("<12I")
_POOL: Final = 1 << 14
_AT_ONCE: Final = 20_000


class Kind(NamedTuple):
    """A plugin with its model, and how many of a hundred entries are its."""

    plugin: str
    schema: str
    model: Fingerprint
    share: int
    seconds: float


class Plan(NamedTuple):
    """What to make."""

    root: str
    entries: int
    seed: int
    now: int
    shared: int = 10
    """How many of a hundred entries have a result that others have, too."""
    pinned: int = 1
    """How many of a thousand entries are pinned."""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("root", type=Path, help="a folder that is not there yet, or empty")
    parser.add_argument("--entries", type=int, default=100_000, metavar="N")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--now", type=int, default=int(time.time()), help="seconds since 1970")
    parser.add_argument("--jobs", type=int, default=min(os.cpu_count() or 1, 4))
    options = parser.parse_args(arguments)
    if options.root.exists() and any(options.root.iterdir()):
        parser.error(f"{options.root} is not empty")
    started = time.monotonic()
    plan = Plan(str(options.root), options.entries, options.seed, options.now)
    make_store(plan, jobs=options.jobs)
    print(f"{options.entries:,} entries in {time.monotonic() - started:.1f} s: {options.root}")
    return 0


def make_store(plan: Plan, *, jobs: int = 1) -> None:
    """Make the store."""
    backend = LocalBackend(plan.root)
    for kind in kinds():
        backend.put(layout.fingerprint_path(kind.model.id), kind.model.document)
    for part in (layout.MANIFESTS, layout.OBJECTS):
        for shard in layout.SHARDS:
            os.makedirs(f"{plan.root}/{part}/{shard}")
    step = -(-plan.entries // max(jobs, 1))
    parts = [range(at, min(at + step, plan.entries)) for at in range(0, plan.entries, step)]
    if jobs < 2:
        for part in parts:
            _write(plan, part)
    else:
        with ProcessPoolExecutor(jobs, mp_context=get_context("fork")) as pool:
            list(pool.map(_write, [plan] * len(parts), parts))
    _count(plan, backend)
    for part in (layout.MANIFESTS, layout.OBJECTS):
        for shard in layout.SHARDS:  # nothing has changed here for some time, either
            os.utime(f"{plan.root}/{part}/{shard}", (plan.now - 3600, plan.now - 3600))


def kinds() -> list[Kind]:
    """Name the plugins and models there are: two versions of one, and two others."""

    def model(name: str, **files: int) -> Fingerprint:
        found = {
            role.replace("_", "."): FileDigest(digest_bytes(f"{name} {role}".encode()), size)
            for role, size in files.items()
        }
        source = {f"{name}.encode": f"def encode(self): return {name!r}"}
        return make_fingerprint(files=found, settings={"chunk": [10, 5]}, source=source)

    old = model("editx-1", tokenizer_onnx=489_000_000, kmeans_npy=2_100_000)
    new = model("editx-2", tokenizer_onnx=497_000_000, kmeans_npy=2_100_000)
    speaker = model("speaker", campplus_onnx=28_000_000)
    mel = model("mel", vocoder_pt=84_000_000)
    tokens = "stepaudio.StepAudioTokenizer.wav2token"
    return [
        Kind("stepaudio", tokens, new, 55, 1.6),
        Kind("stepaudio", tokens, old, 25, 1.7),
        Kind("acme-speaker", "acme.speaker.embed/1", speaker, 15, 0.2),
        Kind("studio.mel", "studio.mel", mel, 5, 0.05),
    ]


class Entry(NamedTuple):
    """One entry, and when it was last used."""

    recipe: Recipe
    manifest: Manifest
    blob: bytes
    used: int
    written: int
    pinned: bool


class Maker:
    """Makes entries by their number."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._kinds = [kind for kind in kinds() for _ in range(kind.share)]
        noise = blake3(b"%d" % plan.seed).digest(length=_POOL * 2)
        self._pool = [int.from_bytes(noise[i : i + 2], "little") for i in range(0, len(noise), 2)]
        self._results = max(plan.entries // 100, 1)

    def entry(self, number: int) -> Entry:
        plan, day = self._plan, DAY
        digest = blake3(b"%d/%d" % (plan.seed, number))
        picks = _PICKS.unpack(digest.digest(length=_PICKS.size))
        kind = self._kinds[picks[0] % 100]
        shared = picks[1] % 100 < plan.shared
        blob, code = self._result(picks[2] % self._results if shared else number + self._results)
        seconds = 1 + picks[3] % 200 / 10
        name = f"{NAMES[picks[4] % len(NAMES)]}-{number:07d}.wav"
        sound = Input(
            "array", digest.hexdigest(), {"shape": (1, int(seconds * 24000)), "name": name}
        )
        recipe = recipe_of(kind.schema, {"audio": sound}, {"sample_rate": 24000}, kind.model)
        # Most were used lately; some have not been for a year.
        unused = int(365 * day * (picks[5] / 2**32) ** 4) + 7200
        created = plan.now - unused - picks[6] % (30 * day)
        manifest = Manifest(
            key=recipe.key,
            object=digest_bytes(blob),
            size=len(blob),
            codec=code,
            schema=kind.schema,
            plugin=kind.plugin,
            created=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(created)),
            compute_seconds=round(kind.seconds * (0.5 + seconds / 10), 6),
            inputs={"audio": {"kind": "array", "digest": sound.digest, **sound.facts}},
            params=recipe.params,
            fingerprint=kind.model.id,
            producer=PRODUCER,
            deterministic=kind.plugin != "stepaudio",
            label=f"presets/{name}" if picks[7] % 1000 < plan.pinned else "",
        )
        # A shared object is as old as its name says, whoever of its entries comes first.
        old = int(manifest.object[:8], 16) % (365 * day) if shared else plan.now - created
        pinned = bool(manifest.label)
        return Entry(recipe, manifest, blob, plan.now - unused, plan.now - old, pinned)

    def _result(self, number: int) -> tuple[bytes, str]:
        """Return the bytes of a result: token lists of different lengths."""
        at, length = number * 31 % (_POOL // 2), 40 + number * 7 % 160
        part = self._pool[at : at + length]
        value = [number, *part], part[: length // 3], part[length // 3 :]
        encoded = codec.encode(value)
        return encoded.data, encoded.codec


def _write(plan: Plan, numbers: range) -> None:
    """Make and write entries, many at a time folder by folder: a disk likes that better."""
    maker, backend = Maker(plan), LocalBackend(plan.root)
    for at in range(numbers.start, numbers.stop, _AT_ONCE):
        files: dict[str, tuple[bytes, int]] = {}
        for number in range(at, min(at + _AT_ONCE, numbers.stop)):
            entry = maker.entry(number)
            manifest = entry.manifest
            files[layout.object_path(manifest.object)] = entry.blob, entry.written
            files[layout.manifest_path(manifest.key)] = manifest.seal(), entry.used
            if entry.pinned:
                label = b'{"label":"%s"}' % manifest.label.encode()
                backend.put(layout.pin_path(manifest.key), label)
        for path in sorted(files):
            _write_file(f"{plan.root}/{path}", *files[path])


def _write_file(path: str, data: bytes, when: int) -> None:
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    except FileExistsError:
        return
    os.write(fd, data)
    os.utime(fd, (when, when))
    os.close(fd)


def _count(plan: Plan, backend: LocalBackend) -> None:
    """Leave counters as some processes would that have used it for a day."""
    maker, share = Maker(plan), max(plan.entries // PROCESSES, 1)
    for process in range(PROCESSES):
        subjects = {
            Subject(kind.plugin, kind.model.id): {
                "hit.memory": share * kind.share // 25,
                "hit.disk": share * kind.share // 100,
                "miss": share * kind.share // 100,
                "seconds.saved": share * kind.share * kind.seconds / 20,
                "seconds.encode": share * kind.share * kind.seconds / 100,
                "seconds.lookup": share * kind.share / 20 * 0.0004,
            }
            for kind in kinds()
        }
        hottest = [maker.entry(number) for number in range(min(50, plan.entries))]
        heats = {
            e.recipe.key: Heat(share // (n + 1) + 1, (share // (n + 1) + 1) * 1.6)
            for n, e in enumerate(hottest)
        }
        tally = Tally(plan.now - DAY, plan.now, 1, subjects, hottest=Hottest(heats))
        document = dump_tally(tally, {"host": f"gpu-{process % 3 + 1}", "pid": 100 + process})
        backend.put(f"{layout.COUNTERS}/gpu-{process % 3 + 1}-{100 + process}.json", document)


if __name__ == "__main__":
    sys.exit(main())
