"""SeaweedFS, an S3 server that checks signatures and conditions."""

import json
import sysconfig
from http.client import HTTPConnection
from pathlib import Path

import pytest

from stepaudio_cas.store.aws import Credentials, Signer
from tests.support.servers import Server, free_ports, with_bucket

WRITER = Credentials("testkey", "testsecret")
READER = Credentials("readkey", "readsecret")
_MAY = {WRITER: ["Admin", "Read", "Write", "List", "Tagging"], READER: ["Read", "List"]}


class SeaweedFS(Server):
    def __init__(self):
        super().__init__()
        self.ports = free_ports(5, distance=10000)
        self.url = f"http://127.0.0.1:{self.ports[3]}"
        identities = [
            {"name": who.access, "actions": may,
             "credentials": [{"accessKey": who.access, "secretKey": who.secret}]}
            for who, may in _MAY.items()
        ]  # fmt: skip
        (self.folder / "s3.json").write_text(json.dumps({"identities": identities}))
        (self.folder / "data").mkdir()

    def command(self):
        names = ("master", "volume", "filer", "s3", "admin")
        return [
            str(Path(sysconfig.get_path("scripts")) / "weed"), "-logtostderr=true", "mini",
            f"-dir={self.folder}/data", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
            *(f"-{name}.port={port}" for name, port in zip(names, self.ports, strict=True)),
            "-master.telemetry=false", "-s3.port.iceberg=0", "-s3.port.lance=0", "-webdav=false",
            "-admin.ui=false", f"-s3.config={self.folder}/s3.json",
        ]  # fmt: skip

    def ask(self, method, target, body=b""):
        """Ask as the writer, with nothing of the store's between."""
        connection = HTTPConnection("127.0.0.1", self.ports[3], timeout=10)
        try:
            headers = {"host": f"127.0.0.1:{self.ports[3]}"}
            signed = Signer("us-east-1").sign(WRITER, method, target, headers, body)
            connection.request(method, target, body, signed)
            return connection.getresponse().status
        finally:
            connection.close()

    def make_bucket(self, name):
        assert self.ask("PUT", f"/{name}") == 200

    def answers(self):
        """Tell whether a document can be written: the gateway is up before the volumes are."""
        return self.ask("PUT", "/ready") in {200, 409} and self.ask("PUT", "/ready/x", b"x") == 200


@pytest.fixture(scope="session")
def seaweedfs():
    """One server for all tests of this process, with a bucket `voices`."""
    with with_bucket(SeaweedFS()) as server:
        yield server


@pytest.fixture
def own_seaweedfs(aws):
    """A server of one test's own, to be killed and frozen."""
    with with_bucket(SeaweedFS()) as server:
        aws(server.url)
        yield server


@pytest.fixture
def aws(monkeypatch, tmp_path):
    """Be who the AWS environment says, and nobody else: `aws(endpoint, credentials)`."""
    for name in ("CONFIG_FILE", "SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(f"AWS_{name}", str(tmp_path / f"aws-{name.lower()}"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in (
        "PROFILE", "DEFAULT_PROFILE", "REGION", "DEFAULT_REGION", "ENDPOINT_URL",
        "ENDPOINT_URL_S3", "SESSION_TOKEN", "CA_BUNDLE", "ACCESS_KEY_ID", "SECRET_ACCESS_KEY",
    ):  # fmt: skip
        monkeypatch.delenv(f"AWS_{name}", raising=False)

    def use(endpoint=None, credentials=WRITER):
        if endpoint is not None:
            monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        if credentials is not None:
            monkeypatch.setenv("AWS_ACCESS_KEY_ID", credentials.access)
            monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", credentials.secret)

    return use


@pytest.fixture
def s3_url(seaweedfs, aws):
    """Where stores can be on the shared server, as its writer."""
    aws(seaweedfs.url)
    return "s3://voices"
