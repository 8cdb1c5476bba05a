"""What a manifest says about how an artifact came to be."""

from __future__ import annotations

import platform
import socket
import sys
import time
from typing import TYPE_CHECKING, Any

from stepaudio_cas.artifact.manifest import Manifest
from stepaudio_cas.identity.digest import digest_bytes

if TYPE_CHECKING:
    from stepaudio_cas.artifact.codec import Encoded
    from stepaudio_cas.runtime.call import Call


def make_manifest(call: Call, encoded: Encoded, seconds: float) -> Manifest:
    """Describe an artifact that has just been computed."""
    recipe = call.recipe
    return Manifest(
        key=recipe.key,
        object=digest_bytes(encoded.data),
        size=len(encoded.data),
        codec=encoded.codec,
        schema=recipe.schema,
        plugin=call.plugin,
        created=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        compute_seconds=round(seconds, 6),
        inputs={
            name: {"kind": item.kind, "digest": item.digest, **item.facts}
            for name, item in recipe.inputs.items()
        },
        params=recipe.params,
        fingerprint=recipe.fingerprint.id if recipe.fingerprint is not None else "",
        producer=producer(),
        deterministic=call.deterministic,
        label=call.label,
    )


def producer() -> dict[str, Any]:
    """Say which software, on which machine, computed it: of what is loaded, nothing more."""
    from stepaudio_cas import __version__  # noqa: PLC0415 - the package imports this module

    found = {
        "version": __version__,
        "host": socket.gethostname(),
        "python": platform.python_version(),
        "machine": platform.machine(),
    }
    for name in (
        "torch",
        "torchaudio",
        "numpy",
        "onnxruntime",
        "librosa",
        "funasr",
        "transformers",
    ):
        version = getattr(sys.modules.get(name), "__version__", None)
        if version is not None:
            found[name] = str(version)
    return found
