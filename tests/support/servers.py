"""Real servers as child processes, each on loopback ports of its own."""

import contextlib
import http.client
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path


def free_ports(count, distance=1):
    """Find `count` ports in a row that nobody listens on, nor on those `distance` above.

    Not among those that the system gives to clients: whoever knocks there until the server is up
    may get the very port he knocks at, and talk to himself.
    """
    for _ in range(200):
        first = random.SystemRandom().randrange(12_000, 22_000)
        wanted = [first + n + step for n in range(count) for step in {0, distance}]
        if all(map(_is_free, wanted)):
            return list(range(first, first + count))
    raise AssertionError("no free ports")


def _is_free(port):
    with socket.socket() as probe, contextlib.suppress(OSError):
        probe.bind(("127.0.0.1", port))
        return True
    return False


class Server:
    """One server process in a folder that goes with it; killed and started again at will."""

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="stepaudio-cas-server-"))
        self.process = None

    def command(self):
        raise NotImplementedError

    def answers(self):
        """Tell whether it can be used."""
        raise NotImplementedError

    def start(self):
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(
                self.command(), stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=self.folder,
                start_new_session=True,
            )  # fmt: skip
        deadline = time.monotonic() + 60
        while not self._ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise AssertionError((self.folder / "log").read_text(errors="replace")[-4000:])
            time.sleep(0.02)
        return self

    def _ready(self):
        try:
            return self.answers()
        except (OSError, http.client.HTTPException):
            return False

    def kill(self):
        """End it as `kill -9` does."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(30)

    def freeze(self):
        """Let it hang: connections are taken by the kernel, and nobody answers."""
        os.killpg(self.process.pid, signal.SIGSTOP)

    def thaw(self):
        os.killpg(self.process.pid, signal.SIGCONT)

    def close(self):
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


@contextlib.contextmanager
def with_bucket(server, name="voices"):
    """Give a server that runs and has a bucket; it goes with the block."""
    try:
        server.start().make_bucket(name)
        yield server
    finally:
        server.close()
