"""Servers in threads, and asking them over real sockets."""

import http.client
import json
import threading
from contextlib import closing
from typing import NamedTuple
from urllib.parse import urlencode

from stepaudio_cas.settings import Settings
from stepaudio_cas.web.inside import Inside
from stepaudio_cas.web.server import Server, bind
from stepaudio_cas.web.service import Service
from stepaudio_cas.web.source import of_settings
from stepaudio_cas.web.spool import Spool
from stepaudio_cas.web.tokens import Tokens

TOKEN = "a-token-of-many-letters"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


class Answer(NamedTuple):
    status: int
    headers: dict
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)


class Client:
    """Asks one server."""

    port: int

    def ask(self, method, path, body=None, headers=None, **query):
        path += f"?{urlencode(query)}" if query else ""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)) as line:
            line.request(method, path, body, headers or {})
            response = line.getresponse()
            named = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, named, response.read())

    def get(self, path, headers=None, **query):
        return self.ask("GET", path, headers=headers, **query)

    def post(self, path, document=None, headers=BEARER):
        body = json.dumps(document or {})
        return self.ask("POST", path, body, {"Content-Type": "application/json", **headers})

    def upload(self, name, data, headers=BEARER):
        sent = {"Content-Type": "application/octet-stream", **headers}
        return self.ask("POST", "/api/v1/prewarm/upload", data, sent, name=name)


class Standalone(Client):
    """What `cas-tool serve` is."""

    def __init__(self, settings, token_file, folder, *, address="127.0.0.1:0", **spool):
        self.listening = bind(address)
        self.port = self.listening.getsockname()[1]
        self.states = folder / "states"
        self.states.mkdir(exist_ok=True)
        self.spool = Spool(str(folder / "spool"), **spool)
        self.source = of_settings(settings, states=str(self.states))
        tokens = Tokens(str(token_file) if token_file else None)
        self.service = Service(self.source, tokens, spool=self.spool)
        self.server = Server(self.service, self.listening)
        self.ready = threading.Event()
        self.thread = threading.Thread(target=self.server.run, args=(self.ready.set,), daemon=True)
        self.thread.start()
        assert self.ready.wait(60)

    def close(self):
        self.server.stop()
        self.thread.join(30)
        self.listening.close()
        assert not self.thread.is_alive()


class Served(Client):
    """What STEPAUDIO_CAS_HTTP makes of a host."""

    def __init__(self, cache, token_file, folder, address="127.0.0.1:0"):
        self.cache = cache
        settings = Settings(
            stores=("there",), http=address, http_token_file=str(token_file) if token_file else None
        )
        self.inside = Inside(cache, settings, settle=0.0)

    def __enter__(self):
        self.inside.start()
        assert self.inside.ready.wait(60)
        self.port = int(self.inside.url.rstrip("/").rpartition(":")[2])
        return self

    def __exit__(self, *_):
        self.inside.stop()


class Events:
    """Reads events, one after the other."""

    def __init__(self, client, headers=None):
        self.line = http.client.HTTPConnection("127.0.0.1", client.port, timeout=60)
        self.line.request("GET", "/api/v1/events", headers=headers or {})
        self.response = self.line.getresponse()

    def __enter__(self):
        assert self.response.status == 200, self.response.read()
        assert self.response.headers["Content-Type"].startswith("text/event-stream")
        self.response.readline()
        return self

    def __exit__(self, *_):
        self.response.close()
        self.line.close()

    def next(self, *kinds):
        """Return the next event of these kinds, with its id."""
        while True:
            event = {}
            while (text := self.response.readline().decode().rstrip("\n")) or not event:
                assert text or self.response.fp is not None, "the stream has ended"
                name, _, value = text.partition(": ")
                if name in {"id", "event", "data"}:
                    event[name] = value
            if not kinds or event["event"] in kinds:
                return event["event"], json.loads(event["data"]), event.get("id", "")
