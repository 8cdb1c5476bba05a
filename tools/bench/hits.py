"""How long a hit takes, and how long everything that could stand in its place."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from blake3 import blake3

from tools.bench.recreations import InMemory, JsonFiles, host_path, make_preprocess
from tools.bench.rivals import make_rivals
from tools.bench.sampling import Pairs, compare
from tools.bench.subject import (
    SAMPLE_RATE,
    bytes_of,
    cached_by,
    encode,
    make_clip,
    only_hits,
    open_cache,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tools.bench.libraries import Libraries
    from tools.bench.scale import Scale

BLAKE3: Final = "BLAKE3 of the same bytes"
BY_TURNS: Final = "the same, in turns call by call"
FLOOR: Final = "BLAKE3 of the same bytes + bare open and read of the two files"
HOST: Final = "the host's own cached path, in memory (re-creation)"
JSON_FILES: Final = "the operators' JSON files (re-creation)"


class Hits:
    """One clip that every contestant has already seen."""

    def __init__(self, folder: Path, scale: Scale, libraries: Libraries) -> None:
        self._folder = folder
        self._scale = scale
        self._libraries = libraries
        self._clip = make_clip()
        self._data = bytes_of(self._clip)
        self._rivals = {
            name: partial(function, self._clip, SAMPLE_RATE)
            for name, function in make_rivals(folder, libraries, encode).items()
        }

    def memory(self) -> dict[str, Pairs]:
        """Compare hits in memory with the floor and with the libraries."""
        with self._filled("memory") as (hit, _):
            found = {BLAKE3: compare(hit, self._blake3, self._scale)}
            return found | self._by_turns(hit, self._blake3) | self._beside(self._rivals, hit)

    def disk(self) -> dict[str, Pairs]:
        """Compare hits on disk, with no memory tier."""
        with self._filled("disk", memory=0) as (hit, root):
            floor = self._bare_reads(root)
            found = {FLOOR: compare(hit, floor, self._scale)}
            return found | self._by_turns(hit, floor) | self._beside(self._rivals, hit)

    def host(self) -> tuple[dict[str, Pairs], dict[str, Pairs]]:
        """Compare both with the host's own path; apart, because librosa is late to be ready."""
        preprocess = make_preprocess(self._libraries)
        if preprocess is None:
            return {}, {}
        in_memory, in_files = (
            partial(host_path(kind, encode, preprocess), self._clip, SAMPLE_RATE)
            for kind in (InMemory(), JsonFiles(self._folder / "json"))
        )
        with self._filled("memory") as (hit, _):
            memory = self._beside({HOST: in_memory, JSON_FILES: in_files}, hit)
        with self._filled("disk", memory=0) as (hit, _):
            return memory, self._beside({JSON_FILES: in_files}, hit)

    @contextmanager
    def _filled(self, tier: str, **settings: Any) -> Iterator[tuple[Callable[[], Any], str]]:
        """Open a new store that has the clip; afterwards, check that all the rest were hits."""
        root = tempfile.mkdtemp(prefix=f"{tier}-", dir=self._folder)
        with open_cache(root, **settings) as cache:
            hit = partial(cached_by(cache), self._clip, SAMPLE_RATE)
            hit()
            yield hit, root
            only_hits(cache, tier, misses=1)

    def _beside(
        self, others: dict[str, Callable[[], Any]], hit: Callable[[], Any]
    ) -> dict[str, Pairs]:
        """Compare with other caches, which have seen the clip too: theirs must be hits as well."""
        for call in others.values():
            call()
        before = encode.calls
        found = {name: compare(hit, call, self._scale, slow=True) for name, call in others.items()}
        if encode.calls != before:
            raise RuntimeError(f"not all calls of {', '.join(others)} were hits")
        return found

    def _by_turns(self, hit: Callable[[], Any], reference: Callable[[], Any]) -> dict[str, Pairs]:
        """Compare in blocks of one, where neither finds its code in the processor's caches."""
        scale = replace(self._scale, calls=1, blocks=self._scale.blocks * 5)
        return {BY_TURNS: compare(hit, reference, scale)}

    def _blake3(self) -> None:
        blake3(self._data).digest()

    def _bare_reads(self, root: str) -> Callable[[], None]:
        paths = [
            str(path)
            for part in ("manifests", "objects")
            for path in Path(root, "v1", part).glob("*/*")
        ]
        assert len(paths) == 2, paths

        def read() -> None:
            blake3(self._data).digest()
            for path in paths:
                with open(path, "rb") as file:
                    file.read()

        return read
