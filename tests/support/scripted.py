"""An HTTP server that says what a test tells it to, and remembers what it was asked."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

import pytest


class Asked(NamedTuple):
    method: str
    target: str
    headers: dict
    body: bytes


class Scripted:
    """Gives `answers` one after the other, and the last one again and again.

    An answer is `(status, headers, body)`, None to hang up without one, or a function of what was
    asked that returns either.
    """

    def __init__(self):
        self.answers = [(200, {}, b"")]
        self.asked = []
        script = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self):
                script._answer(self)

            do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = do_CONNECT = answer  # noqa: N815

            def log_message(self, *args):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.authority = f"127.0.0.1:{self._server.server_port}"
        self.url = f"http://{self.authority}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def _answer(self, handler):
        body = handler.rfile.read(int(handler.headers.get("content-length") or 0))
        headers = {name.lower(): value for name, value in handler.headers.items()}
        asked = Asked(handler.command, handler.path, headers, body)
        self.asked.append(asked)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        answer = answer(asked) if callable(answer) else answer
        handler.close_connection = answer is None
        if answer is None:
            return
        status, headers, content = answer
        handler.send_response(status)
        for name, value in {"content-length": str(len(content)), **headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(content)

    def close(self):
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def scripted():
    server = Scripted()
    yield server
    server.close()
