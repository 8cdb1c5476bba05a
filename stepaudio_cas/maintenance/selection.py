"""Which entries are meant."""

from __future__ import annotations

import time
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from stepaudio_cas.artifact.manifest import Manifest
    from stepaudio_cas.maintenance.inventory import Kept


class Selection(NamedTuple):
    """Every condition that is set must hold; with none, everything is meant.

    `plugin` is a plugin's name or a glob over schemas, `model` and `keys` are beginnings of
    fingerprints and keys, `label` is a glob over labels or over the last part of them, `older` is
    in seconds since the last use, `larger` in bytes.
    """

    plugin: str | None = None
    model: str | None = None
    older: float | None = None
    larger: int | None = None
    label: str | None = None
    keys: tuple[str, ...] = ()

    def matcher(self, *, clock: Callable[[], float] = time.time) -> Callable[[Kept], bool]:
        """Return the test; "now" is the moment of this call. A damaged entry has only its key."""
        unused_since = None if self.older is None else clock() - self.older

        def matches(kept: Kept) -> bool:
            if self.keys and not kept.key.startswith(self.keys):
                return False
            if unused_since is not None and kept.entry.mtime > unused_since:
                return False
            if self.larger is not None and kept.size <= self.larger:
                return False
            return self._by_manifest(kept.manifest)

        return matches

    def _by_manifest(self, manifest: Manifest | None) -> bool:
        if self.plugin is None and self.model is None and self.label is None:
            return True
        return manifest is not None and (
            (self.plugin is None or _is_plugin(manifest, self.plugin))
            and (self.model is None or manifest.fingerprint.startswith(self.model))
            and (self.label is None or _has_label(manifest, self.label))
        )


def _is_plugin(manifest: Manifest, wanted: str) -> bool:
    return manifest.plugin == wanted or fnmatchcase(manifest.schema, wanted)


def _has_label(manifest: Manifest, pattern: str) -> bool:
    names = {manifest.label, manifest.label.rsplit("/", 1)[-1]} - {""}
    return any(fnmatchcase(name, pattern) for name in names)
