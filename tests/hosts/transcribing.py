"""The transcription service in a process of its own, and requests to it."""

import http.client
import json
import os
import subprocess
import sys
import uuid
from pathlib import Path
from urllib.parse import urlsplit

HOST = Path(__file__).parent / "transcription"


class Service:
    """`python app.py`, or another program that takes its place, until it is closed."""

    def __init__(self, model, log, *, program=(HOST / "app.py",), **environment):
        kept = {name: v for name, v in os.environ.items() if not name.startswith("STEPAUDIO_CAS")}
        self.log = log
        with open(log, "w") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, *program, "--model-path", model, "--port", "0"],
                cwd=HOST,
                env={**kept, "OMP_NUM_THREADS": "1", **{n: str(v) for n, v in environment.items()}},
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
            )
        printed = self._process.stdout.readline()
        self.url = printed.partition("serving on ")[2].strip()
        if not self.url:
            self.close()
            raise RuntimeError(printed + Path(log).read_text()[-4000:])

    def close(self):
        self._process.terminate()
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def said(self):
        """The lines of ours on its stderr."""
        lines = Path(self.log).read_text().splitlines()
        return [line for line in lines if "stepaudio-cas" in line]


class Client:
    """One connection, which is kept."""

    def __init__(self, url):
        place = urlsplit(url)
        self._connection = http.client.HTTPConnection(place.hostname, place.port, timeout=120)

    def close(self):
        self._connection.close()

    def post(self, path, body, kind):
        self._connection.request("POST", path, body, {"Content-Type": kind})
        answer = self._connection.getresponse()
        data = json.loads(answer.read())
        if answer.status != 200:
            raise RuntimeError(f"{answer.status}: {data}")
        return data

    def transcribe(self, recording, **fields):
        """Upload one recording; return its text."""
        return self.post("/transcribe", *form({"file": [recording]}, fields))["text"]

    def transcribe_batch(self, recordings, **fields):
        """Upload several; return their texts."""
        return self.post("/transcribe/batch", *form({"files": recordings}, fields))["texts"]


def form(files, fields):
    """Make the body of an upload, and say what kind of body it is."""
    boundary = uuid.uuid4().hex
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n'.encode()
        for name, text in fields.items()
    ]
    for name, contents in files.items():
        head = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"; filename="a.wav"\r\n'
            "Content-Type: audio/wav\r\n\r\n"
        ).encode()
        parts += [part for content in contents for part in (head, content, b"\r\n")]
    body = b"".join([*parts, f"--{boundary}--\r\n".encode()])
    return body, f"multipart/form-data; boundary={boundary}"
