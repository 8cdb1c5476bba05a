"""What is in a store, read entry by entry, by a process that no fault can reach."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).resolve().parents[2]


class Contents(NamedTuple):
    """Which run's result each voice has here; voices whose entry cannot be read, and why."""

    values: dict[int, int]
    unreadable: dict[str, str]


def look_into(url: str, environment: dict[str, str]) -> Contents:
    """Read a whole store, in the environment in which it is found."""
    done = subprocess.run(
        [sys.executable, "-m", "tools.chaos.stores", url],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{url} cannot be looked into: {done.stderr[-2000:]}")
    values, unreadable = json.loads(done.stdout)
    return Contents({int(number): nonce for number, nonce in values.items()}, unreadable)


def read_store(url: str) -> Contents:
    """Do so in this process."""
    from stepaudio_cas.artifact import codec
    from stepaudio_cas.errors import Damaged
    from stepaudio_cas.maintenance import inventory
    from stepaudio_cas.store.store import Store
    from stepaudio_cas.store.urls import open_backend
    from tools.chaos.worker import source_of

    store = Store(open_backend(url))
    values, unreadable = dict[int, int](), dict[str, str]()

    def read(key: str) -> tuple[str, object]:
        try:
            return key, store.read(key, touch=False)
        except Damaged as damage:
            return key, damage

    keys = list(inventory.keys(store.backend))
    for key, found in inventory.many(store.backend, read, keys):
        if isinstance(found, Damaged):
            unreadable[key] = found.kind
        elif found is not None:
            number = found.manifest.params["voice"]
            values[number] = source_of(number, codec.decode(found.manifest.codec, found.blob))
    return Contents(values, unreadable)


if __name__ == "__main__":
    json.dump(read_store(sys.argv[1]), sys.stdout)
