"""Format 1 of a store: which path holds what. The same strings on every backend."""

from __future__ import annotations

from typing import Final

from stepaudio_cas.identity.digest import is_digest

VERSION: Final = "v1"
OBJECTS: Final = f"{VERSION}/objects"
MANIFESTS: Final = f"{VERSION}/manifests"
FINGERPRINTS: Final = f"{VERSION}/fingerprints"
PINS: Final = f"{VERSION}/pins"
COUNTERS: Final = f"{VERSION}/counters"
USES: Final = f"{VERSION}/uses"
LEASES: Final = f"{VERSION}/leases"
STATE: Final = f"{VERSION}/state"
PROBES: Final = f"{VERSION}/probes"
QUARANTINE: Final = f"{VERSION}/quarantine"

SHARDS: Final = tuple(f"{n:02x}" for n in range(256))

CACHEDIR_TAG: Final = (
    b"Signature: 8a477f597d28d172789f06886806bc55\n"
    b"# This folder is a store of stepaudio-cas; what is in it can be computed again.\n"
    b"# Backup programs may leave it out: https://bford.info/cachedir/\n"
)


def object_path(digest: str) -> str:
    """Return where the bytes with this digest are."""
    return f"{OBJECTS}/{_shard(digest)}/{digest}"


def manifest_path(key: str) -> str:
    """Return where the manifest of this key is."""
    return f"{MANIFESTS}/{_shard(key)}/{key}.json"


def fingerprint_path(fingerprint: str) -> str:
    """Return where the description of a model is."""
    _shard(fingerprint)
    return f"{FINGERPRINTS}/{fingerprint}.json"


def pin_path(key: str) -> str:
    """Return the path whose existence pins the key."""
    return f"{PINS}/{_shard(key)}/{key}"


def digest_in(path: str) -> str | None:
    """Return the digest or key that a path of ours is about; None if it is not one of ours."""
    name = path.rsplit("/", 1)[-1].removesuffix(".json")
    return name if is_digest(name) else None


def _shard(digest: str) -> str:
    if not is_digest(digest):
        raise ValueError(f"not a digest: {digest!r}")
    return digest[:2]
