"""A local store with a few voices, and the tool called on it in this process."""

import json
import os
import time

from stepaudio_cas import make_fingerprint
from stepaudio_cas.artifact import codec
from stepaudio_cas.cli import main as cli
from stepaudio_cas.identity.digest import digest_bytes
from stepaudio_cas.identity.files import FileDigest
from stepaudio_cas.store import layout
from stepaudio_cas.store.local import LocalBackend
from tests.maintenance.stock import HOUR, Stock
from tests.support.values import tokens

TOKENS = "stepaudio.StepAudioTokenizer.wav2token/1"
MODEL = make_fingerprint(
    files={"encoder": FileDigest("ab" * 32, 900_000_000)}, settings={"dither": 1.0}
)


class Drawer(Stock):
    """The store at `root`; `tool` runs a verb on it and returns what a pipe gets."""

    def __init__(self, root, capsys):
        super().__init__(LocalBackend(root))
        self.root = root
        self._capsys = capsys

    def voice(self, number, label="", *, hours=2, value=None, **fields):
        """Put an entry of a voice, last used so many hours ago."""
        encoded = codec.encode(tokens(number) if value is None else value)
        fields = {"schema": TOKENS, "plugin": TOKENS, "fingerprint": MODEL.id, **fields}
        manifest = self.add(
            number,
            value,
            label=label,
            compute_seconds=number + 0.5,
            created="2026-10-01T09:00:00Z",
            inputs={"audio": {"kind": "array", "digest": "cd" * 32, "shape": [1, 480_000]}},
            params={"sample_rate": 48_000},
            producer={"version": "0.1.0", "host": "gpu-3"},
            **fields,
        )
        assert manifest.object == digest_bytes(encoded.data)
        self.age(layout.manifest_path(manifest.key), hours)
        self.age(layout.object_path(manifest.object), hours)
        return manifest

    def model(self):
        """Put the fingerprint of the model."""
        self.backend.put(layout.fingerprint_path(MODEL.id), MODEL.document)

    def age(self, path, hours):
        when = time.time() - hours * HOUR
        os.utime(self.root / path, (when, when))

    def tool(self, *words):
        """Return exit code and JSON lines; what is said on stderr is in `said`."""
        code = cli.main(["--store", str(self.root), *map(str, words)])
        out, self.said = self._capsys.readouterr()
        return code, [json.loads(line) for line in out.splitlines()]
