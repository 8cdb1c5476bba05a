"""A real terminal: what a command writes to it, and what somebody types."""

import contextlib
import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios

START = [sys.executable, "-m", "stepaudio_cas"]


class Session:
    """A command that runs in a terminal of so many columns."""

    def __init__(self, *words, columns=80, variables=None):
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        left_out = {"COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "CI"}
        environment = {name: v for name, v in os.environ.items() if name not in left_out}
        environment |= {"TERM": "xterm-256color", **(variables or {})}
        self.process = subprocess.Popen(
            [*START, *map(str, words)],
            stdin=theirs, stdout=theirs, stderr=theirs, env=environment, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 - no threads
        )  # fmt: skip
        os.close(theirs)
        self._terminal = ours
        self._seen = b""

    def wait_for(self, text):
        """Read until it has been written."""
        while text.encode() not in self._seen:
            if not self._read():
                raise AssertionError(f"{text!r} never came, but {self._seen!r}")

    def type(self, text):
        os.write(self._terminal, text.encode())

    def interrupt(self):
        """Press Ctrl-C, again if it came just before the command began to wait for a line."""
        while self.process.poll() is None:
            self.type("\x03")
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(3)

    def finish(self):
        """Return the exit code, and all that was written."""
        while self._read():
            pass
        os.close(self._terminal)
        return self.process.wait(60), self._seen.decode().replace("\r\n", "\n")

    def _read(self):
        try:
            data = os.read(self._terminal, 1 << 16)
        except OSError:  # how a terminal says that nobody writes to it any more
            return False
        self._seen += data
        return bool(data)


def on_terminal(*words, **options):
    """Run a command in a terminal of its own, and return exit code and text."""
    return Session(*words, **options).finish()


def plain(text):
    """Take the colours and other controls away."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
