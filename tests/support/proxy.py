"""A TCP proxy on loopback that drops connections as told."""

import contextlib
import select
import socket
import threading


class Proxy:
    """Passes everything on to `port`, until `breaks()` says of something sent that it is lost.

    Then the connection is closed on both sides: before the server has seen the request, or, every
    other time, after it, so that only its answer is lost.
    """

    def __init__(self, port, breaks=lambda: False):
        self._target = port
        self.breaks = breaks
        self.broken = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, client):
        target = ("127.0.0.1", self._target)
        with (
            contextlib.suppress(OSError),
            client,
            socket.create_connection(target, timeout=30) as server,
        ):
            self._pass_on(client, server)

    def _pass_on(self, client, server):
        while True:
            for source in select.select([client, server], [], [])[0]:
                data = source.recv(1 << 16)
                if not data:
                    return
                if source is client and self.breaks():
                    self.broken += 1
                    if self.broken % 2:
                        server.sendall(data)
                        server.recv(1)
                    return
                (server if source is client else client).sendall(data)

    def close(self):
        self._listener.close()
