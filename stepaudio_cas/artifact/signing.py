"""MACs over manifests: a store that strangers can write to is read as if it were empty.

The key file holds one secret a line; blank lines and `#` comments are skipped. The first secret
signs, all of them verify, which is how keys are rotated.
"""

from __future__ import annotations

import hmac
from pathlib import Path
from typing import TYPE_CHECKING, Final

from blake3 import blake3

from stepaudio_cas.errors import SettingError

if TYPE_CHECKING:
    import os

_CONTEXT: Final = "stepaudio-cas 2026 manifest mac"
_SHORTEST_SECRET: Final = 16


class Signer:
    """Signs with the first secret and verifies with any."""

    def __init__(self, secrets: list[bytes]) -> None:
        keys = [blake3(s, derive_key_context=_CONTEXT).digest() for s in secrets]
        self._keys = {blake3(key).hexdigest()[:8]: key for key in keys}
        self._first = next(iter(self._keys))

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> Signer:
        """Read secrets; raise `SettingError` if there is none or one is too short to be secret."""
        try:
            lines = Path(path).read_bytes().splitlines()
        except OSError as error:
            raise SettingError(f"the signing key file {path} cannot be read: {error}") from None
        secrets = [s for line in lines if (s := line.strip()) and not s.startswith(b"#")]
        if not secrets:
            raise SettingError(f"the signing key file {path} holds no key")
        if min(map(len, secrets)) < _SHORTEST_SECRET:
            raise SettingError(
                f"a key in {path} is shorter than {_SHORTEST_SECRET} characters;"
                " make one with: openssl rand -hex 32"
            )
        return cls(secrets)

    def sign(self, data: bytes) -> str:
        """Return `<key id>:<mac>`."""
        return f"{self._first}:{blake3(data, key=self._keys[self._first]).hexdigest()}"

    def verify(self, data: bytes, mac: str) -> bool:
        """Tell whether one of our secrets made this MAC."""
        key_id, _, digest = mac.partition(":")
        key = self._keys.get(key_id)
        return key is not None and hmac.compare_digest(
            blake3(data, key=key).hexdigest().encode(), digest.encode()
        )
