"""Signed manifests: a store that strangers can write to is read as if it were empty.

The key file holds one key a line; blank lines and `#` comments are skipped. The first that can sign
signs, all of them verify, which is how keys are rotated. A line is a secret of your own, shared by
all who read and write (a MAC), or one half of an Ed25519 pair: `ed25519-private:…` for those who
write, `ed25519-public:…` for those who may only read, and cannot forge.
"""

from __future__ import annotations

import hmac
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from blake3 import blake3

from stepaudio_cas.errors import SettingError

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable

PRIVATE: Final = "ed25519-private:"
PUBLIC: Final = "ed25519-public:"
_CONTEXT: Final = "stepaudio-cas 2026 manifest mac"
_SIGNED: Final = b"stepaudio-cas 2026 manifest signature\n"
_SHORTEST_SECRET: Final = 16
_KEY_BYTES: Final = 32


class Key(Protocol):
    """One line of a key file. `id` names it, in manifests, without giving anything away."""

    id: str
    signs: bool

    def sign(self, data: bytes) -> str:
        """Return the signature in hex digits."""

    def verify(self, data: bytes, signature: str) -> bool:
        """Tell whether this key, or its other half, made the signature."""


class Secret:
    """A key that signs and verifies."""

    signs = True

    def __init__(self, secret: bytes) -> None:
        self._key = blake3(secret, derive_key_context=_CONTEXT).digest()
        self.id = blake3(self._key).hexdigest()[:8]

    def sign(self, data: bytes) -> str:
        return blake3(data, key=self._key).hexdigest()

    def verify(self, data: bytes, signature: str) -> bool:
        return hmac.compare_digest(self.sign(data).encode(), signature.encode())


class Ed25519:
    """A pair of keys, or its public half."""

    def __init__(self, *, private: bytes | None = None, public: bytes = b"") -> None:
        self._module = _ed25519()
        self._private: Any = None
        if private is not None:
            self._private = self._module.Ed25519PrivateKey.from_private_bytes(private)
            public = self._private.public_key().public_bytes_raw()
        self.public = public
        self._public = self._module.Ed25519PublicKey.from_public_bytes(public)
        self.id = blake3(public).hexdigest()[:8]
        self.signs = self._private is not None

    def sign(self, data: bytes) -> str:
        signature: bytes = self._private.sign(_SIGNED + data)
        return signature.hex()

    def verify(self, data: bytes, signature: str) -> bool:
        from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - an extra

        if not _is_hex(signature, 2 * _KEY_BYTES):
            return False
        try:
            self._public.verify(bytes.fromhex(signature), _SIGNED + data)
        except InvalidSignature:
            return False
        return True


class Signer:
    """Signs with the first key that can, and verifies with any."""

    def __init__(self, keys: Iterable[bytes | Key]) -> None:
        read = [Secret(key) if isinstance(key, bytes) else key for key in keys]
        self._keys: dict[str, Key] = {}
        for key in read:  # a private key says all that its public half does
            if key.id not in self._keys or key.signs:
                self._keys[key.id] = key
        self._first = next((key for key in read if key.signs), None)

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> Signer:
        """Read keys; raise `SettingError` if there is none or one is too short to be secret."""
        return cls(read_keys(path))

    @property
    def signs(self) -> bool:
        """Whether there is a key to sign with; without one, new entries cannot be written."""
        return self._first is not None

    def sign(self, data: bytes) -> str:
        """Return `<key id>:<signature>`."""
        if self._first is None:
            raise PermissionError("there is no key to sign with, only public ones")
        return f"{self._first.id}:{self._first.sign(data)}"

    def verify(self, data: bytes, mac: str) -> bool:
        """Tell whether one of our keys, or its private half, made this signature."""
        key_id, _, signature = mac.partition(":")
        key = self._keys.get(key_id)
        return key is not None and key.verify(data, signature)


def read_keys(path: str | os.PathLike[str]) -> list[Key]:
    """Read a key file; raise `SettingError` saying what is wrong with it, but no key."""
    try:
        lines = Path(path).read_bytes().splitlines()
    except OSError as error:
        raise SettingError(f"the signing key file {path} cannot be read: {error}") from None
    keys = [_read(s, path) for line in lines if (s := line.strip()) and not s.startswith(b"#")]
    if not keys:
        raise SettingError(f"the signing key file {path} holds no key")
    return keys


def _read(line: bytes, path: str | os.PathLike[str]) -> Key:
    kind, colon, digits = line.decode("utf-8", "replace").partition(":")
    if kind.startswith("ed25519"):
        if f"{kind}{colon}" not in {PRIVATE, PUBLIC} or not _is_hex(digits, _KEY_BYTES):
            raise SettingError(
                f"a key in {path} begins with {kind[:20]!r} and is not {PRIVATE} or {PUBLIC}"
                f" with {2 * _KEY_BYTES} hex digits; make one with: cas-tool key new"
            )
        raw = bytes.fromhex(digits)
        return Ed25519(private=raw) if kind + colon == PRIVATE else Ed25519(public=raw)
    if len(line) < _SHORTEST_SECRET:
        raise SettingError(
            f"a key in {path} is shorter than {_SHORTEST_SECRET} characters;"
            " make one with: openssl rand -hex 32"
        )
    return Secret(line)


def _is_hex(text: str, size: int) -> bool:
    return len(text) == 2 * size and set(text) <= set("0123456789abcdef")


def _ed25519() -> Any:
    try:
        from cryptography.hazmat.primitives.asymmetric import ed25519  # noqa: PLC0415 - an extra
    except ImportError:
        raise SettingError(
            "keys of Ed25519 need one more package: pip install 'stepaudio-cas[sign]'"
        ) from None
    return ed25519
