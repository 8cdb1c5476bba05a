"""What is particular to Google Cloud Storage."""

import json
import uuid

import pytest

from stepaudio_cas.errors import Forbidden, Unavailable
from stepaudio_cas.store import gcs as module
from stepaudio_cas.store import objectstore
from stepaudio_cas.store.gcs import GcsBackend
from tests.support.processes import in_child, in_threads

PATH = "v1/manifests/ab/abcd.json"


@pytest.fixture
def backend(gcs_url):
    return GcsBackend(f"{gcs_url}/{uuid.uuid4().hex}")


@pytest.fixture
def told(scripted, monkeypatch):
    """A backend on the scripted server."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", scripted.authority)
    monkeypatch.setattr(objectstore, "_PAUSES", (0.0, 0.0))
    made = GcsBackend("gs://bucket/voices")
    made._bucket_seen = True
    return made


def failure(status, text="Why."):
    return status, {}, json.dumps({"error": {"code": status, "message": text}}).encode()


def test_a_listing_of_many_pages_is_whole(backend, monkeypatch):
    monkeypatch.setattr(module, "PAGE", 20)
    names = [f"v1/pins/{n % 7:02x}/{n}" for n in range(70)]
    in_threads(8, lambda t: [backend.put(name, b"") for name in names[t::8]])
    assert sorted(entry.path for entry in backend.list("v1/pins")) == sorted(names)


def test_the_pages_of_a_listing_follow_each_other(told, scripted):
    def page(number, more):
        item = {
            "name": f"voices/v1/pins/{number}", "size": "1", "generation": "7",
            "updated": "2026-11-21T12:42:54.5Z",
        }  # fmt: skip
        return 200, {}, json.dumps({"items": [item], **more}).encode()

    scripted.answers = [page(0, {"nextPageToken": "t/+="}), page(1, {})]
    found = list(told.list("v1/pins"))
    assert [tuple(entry) for entry in found] == [
        ("v1/pins/0", 1, 1795264974.5),
        ("v1/pins/1", 1, 1795264974.5),
    ]
    assert "pageToken=t%2F%2B%3D" in scripted.asked[-1].target


@pytest.mark.parametrize("name", ["two words", "é/ü+~", "a&b=c?d#e", "100%", "[x]*"])
def test_names_of_every_kind_come_back(backend, name):
    path = f"v1/pins/{name}"
    assert backend.put(path, b"content", create=True)
    assert backend.get(path) == b"content"
    assert [entry.path for entry in backend.list("v1/pins")] == [path]
    assert backend.delete(path)


def test_of_sixteen_writers_one_creates_and_all_know(gcs_url):
    url = f"{gcs_url}/{uuid.uuid4().hex}"
    backends = [GcsBackend(url) for _ in range(16)]
    won = in_threads(16, lambda n: backends[n].put(PATH, b"%d" % n, create=True))
    assert won.count(True) == 1
    assert backends[0].get(PATH) == b"%d" % won.index(True)


def test_what_is_deleted_is_the_generation_that_was_seen(told, scripted):
    scripted.answers = [(200, {"x-goog-generation": "7"}, b"damaged"), failure(412)]
    assert told.delete(PATH, expect=b"damaged") is False
    assert [asked.method for asked in scripted.asked] == ["GET", "DELETE"]
    assert scripted.asked[1].target.endswith("?ifGenerationMatch=7")


def test_a_create_asks_for_no_generation_before_it(told, scripted):
    scripted.answers = [(200, {}, b"{}"), failure(412)]
    assert told.put(PATH, b"content", create=True) is True
    assert told.put(PATH, b"content", create=True) is False
    assert "ifGenerationMatch=0" in scripted.asked[0].target
    assert b"\r\n\r\ncontent\r\n" in scripted.asked[0].body


def test_a_lost_answer_to_a_create_that_was_heard_is_a_win(told, scripted):
    scripted.answers = [failure(503), failure(412), (200, {}, b"mine")]
    assert told.put(PATH, b"mine", create=True) is True
    scripted.answers = [failure(503), failure(412), (200, {}, b"other")]
    assert told.put(PATH, b"mine", create=True) is False


def test_a_bucket_that_is_not_there_is_said(gcs_url):
    backend = GcsBackend("gs://there-is-none")
    for use in (
        backend.get, backend.stat, backend.delete, lambda p: list(backend.list(p)),
        lambda p: backend.put(p, b""),
    ):  # fmt: skip
        with pytest.raises(Unavailable, match="there is no bucket there-is-none"):
            use(PATH)


def test_a_bucket_is_asked_for_once_and_a_miss_is_one_request_from_then_on(told, scripted):
    told._bucket_seen = False
    scripted.answers = [failure(404), (200, {}, b"{}"), failure(404)]
    assert [told.get(PATH) for _ in range(3)] == [None] * 3
    assert len(scripted.asked) == 4


@pytest.mark.parametrize(
    ("status", "error", "words"),
    [
        (401, Unavailable, "credentials: Why."),
        (403, Forbidden, "not allowed to write to gs://bucket/voices: Why."),
        (429, Unavailable, "busy: Why."),
        (500, Unavailable, "server: Why."),
    ],
)
def test_what_the_server_refuses_is_named(told, scripted, status, error, words):
    scripted.answers = [failure(status)]
    with pytest.raises(error) as raised:
        told.put(PATH, b"")
    assert str(raised.value) == words


def test_a_listing_that_is_no_listing_is_an_error(told, scripted):
    scripted.answers = [(200, {}, b'{"items": [{"name": "x"}]}')]
    with pytest.raises(Unavailable, match="a listing that cannot be read"):
        list(told.list("v1"))


@pytest.fixture
def service_account(scripted, monkeypatch, tmp_path):
    """Be a service account whose tokens the scripted server gives out."""
    pytest.importorskip("google.auth")
    rsa = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.rsa")
    from cryptography.hazmat.primitives import serialization as form

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption()
    )
    document = {
        "type": "service_account", "client_email": "voices@example.invalid",
        "private_key": key.decode(), "token_uri": f"{scripted.url}/token", "project_id": "p",
    }  # fmt: skip
    (tmp_path / "key.json").write_text(json.dumps(document))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "key.json"))
    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    monkeypatch.setattr(module, "_SERVER", scripted.url)
    return tmp_path / "key.json"


def server(tokens):
    """Give out tokens, and take the last one only."""

    def answer(asked):
        if asked.target == "/token":
            tokens.append(f"token-{len(tokens)}")
            said = {"access_token": tokens[-1], "expires_in": 3600, "token_type": "Bearer"}
            return 200, {"content-type": "application/json"}, json.dumps(said).encode()
        good = asked.headers.get("authorization") == f"Bearer {tokens[-1]}"
        return (200, {}, b"content") if good else failure(401)

    return answer


def test_application_default_credentials_are_used_and_renewed(service_account, scripted):
    tokens = []
    scripted.answers = [server(tokens)]
    backend = GcsBackend("gs://bucket/voices")
    assert backend.get(PATH) == backend.get(PATH) == b"content"
    assert tokens == ["token-0"]
    tokens.append("revoked")
    assert backend.get(PATH) == b"content"


def test_a_child_forked_while_a_token_is_fetched_fetches_its_own(service_account, scripted):
    scripted.answers = [server([])]
    backend = GcsBackend("gs://bucket/voices")
    with backend._identity._lock:
        assert in_child(lambda: backend.get(PATH).decode()) == "content"


def test_credentials_that_cannot_be_had_are_named(service_account, scripted):
    scripted.answers = [(400, {}, b'{"error": "invalid_grant"}')]
    with pytest.raises(Unavailable, match=r"^credentials: .*invalid_grant"):
        GcsBackend("gs://bucket/voices").get(PATH)
    service_account.write_text("{}")
    with pytest.raises(Unavailable, match=r"^credentials: "):
        GcsBackend("gs://bucket/voices").get(PATH)
