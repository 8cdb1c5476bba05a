"""What is particular to S3: on a real server, and on one that says what a test tells it to."""

import uuid

import pytest

from stepaudio_cas.errors import Forbidden, Unavailable
from stepaudio_cas.store import objectstore
from stepaudio_cas.store.aws import Credentials
from stepaudio_cas.store.s3 import S3Backend
from tests.support.processes import in_child, in_threads
from tests.support.seaweedfs import READER, WRITER

PATH = "v1/manifests/ab/abcd.json"
MODIFIED = {"last-modified": "Sat, 21 Nov 2026 12:42:54 GMT", "etag": '"tag"'}


@pytest.fixture
def url(s3_url):
    return f"{s3_url}/{uuid.uuid4().hex}"


@pytest.fixture
def backend(url):
    return S3Backend(url)


@pytest.fixture
def told(scripted, aws, monkeypatch):
    """A backend on the scripted server."""
    aws(scripted.url)
    monkeypatch.setattr(objectstore, "_PAUSES", (0.0, 0.0))
    return S3Backend("s3://bucket/voices")


def failure(code, status=403, text="Why."):
    return status, {}, f"<Error><Code>{code}</Code><Message>{text}</Message></Error>".encode()


def test_a_listing_of_many_pages_is_whole(backend):
    names = [f"v1/pins/{n % 7:02x}/{n}" for n in range(1100)]
    in_threads(8, lambda t: [backend.put(name, b"") for name in names[t::8]])
    found = [entry.path for entry in backend.list("v1/pins")]
    assert sorted(found) == sorted(names)
    assert len(found) == len(set(found))


def test_listings_are_never_older_than_what_was_written(backend):
    for number in range(5):
        backend.put(f"v1/pins/00/{number}", b"")
        assert len(list(backend.list("v1/pins"))) == number + 1


@pytest.mark.parametrize("name", ["two words", "é/ü+~", "a&b=c?d#e", "100%", "<&>"])
def test_names_of_every_kind_come_back(url, name):
    backend = S3Backend(f"{url}/{name.split('#')[0].split('?')[0]}")
    path = f"v1/pins/{name}"
    assert backend.put(path, b"content", create=True)
    assert backend.get(path) == b"content"
    assert [entry.path for entry in backend.list("v1/pins")] == [path]
    assert backend.delete(path)


def test_of_sixteen_writers_one_creates_and_all_know(url):
    backends = [S3Backend(url) for _ in range(16)]
    won = in_threads(16, lambda n: backends[n].put(PATH, b"%d" % n, create=True))
    assert won.count(True) == 1
    assert backends[0].get(PATH) == b"%d" % won.index(True)


def test_what_is_expected_is_deleted_by_one_of_many(backend, url):
    backend.put(PATH, b"content")
    others = [S3Backend(url) for _ in range(4)]
    went = in_threads(4, lambda n: others[n].delete(PATH, expect=b"content"))
    assert went.count(True) >= 1
    assert backend.get(PATH) is None


def test_what_was_replaced_since_it_was_looked_at_is_not_deleted(backend, url):
    backend.put(PATH, b"damaged")
    version = backend._version(PATH, b"damaged")
    S3Backend(url).put(PATH, b"whole")
    assert backend._delete(PATH, version) is False
    assert backend.get(PATH) == b"whole"


def test_many_documents_are_got_at_once_in_order(backend):
    for number in range(0, 60, 2):
        backend.put(f"v1/pins/00/{number}", b"%d" % number)
    found = backend.get_many([f"v1/pins/00/{n}" for n in range(60)], limit=1)
    assert found[:4] == [b"0", None, b"2", None]
    assert [getattr(each, "kind", None) for each in found[10::2]] == ["too-large"] * 25


@pytest.mark.parametrize(
    ("credentials", "words"),
    [
        (Credentials("testkey", "wrong"), "SignatureDoesNotMatch"),
        (Credentials("nobody", "testsecret"), "InvalidAccessKeyId"),
    ],
)
def test_wrong_credentials_are_named(url, aws, credentials, words):
    aws(credentials=credentials)
    for verb in (S3Backend(url).get, S3Backend(url).delete):
        with pytest.raises(Unavailable) as error:
            verb(PATH, **({"expect": b"x"} if verb.__name__ == "delete" else {}))
        assert error.value.kind == "credentials"
        assert words in str(error.value)


def test_who_may_only_read_reads_and_is_told_so_when_writing(backend, url, aws):
    backend.put(PATH, b"content")
    aws(credentials=READER)
    reader = S3Backend(url)
    assert reader.get(PATH) == b"content"
    assert reader.get("v1/x") is None
    assert len(list(reader.list("v1"))) == 1
    for write in (
        lambda: reader.put("v1/x", b""),
        lambda: reader.put("v1/x", b"", create=True),
        lambda: reader.delete(PATH),
    ):
        with pytest.raises(Forbidden, match="not allowed to write"):
            write()


def test_a_bucket_that_is_not_there_is_said_by_every_way_to_read(s3_url):
    backend = S3Backend("s3://there-is-none")
    for read in (backend.get, backend.stat, backend.delete, lambda p: list(backend.list(p))):
        with pytest.raises(Unavailable, match="there is no bucket there-is-none"):
            read(PATH)


def test_credentials_that_were_renewed_in_their_file_are_used(url, aws, tmp_path, monkeypatch):
    def save(secret):
        text = f"[default]\naws_access_key_id = {WRITER.access}\naws_secret_access_key = {secret}\n"
        (tmp_path / "aws-shared_credentials_file").write_text(text)

    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    save("expired")
    backend = S3Backend(url)
    with pytest.raises(Unavailable, match="SignatureDoesNotMatch"):
        backend.get(PATH)
    save(WRITER.secret)
    assert backend.get(PATH) is None
    backend._identity._known = Credentials(WRITER.access, "expired", "")
    assert backend.get(PATH) is None


def test_a_child_forked_while_credentials_are_looked_for_looks_itself(backend):
    backend.put(PATH, b"content")
    backend._identity.restart()
    with backend._identity._lock:
        assert in_child(lambda: backend.get(PATH).decode()) == "content"


@pytest.mark.parametrize("code", ["ExpiredToken", "InvalidToken", "TokenRefreshRequired"])
def test_an_expired_token_is_named(told, scripted, code):
    scripted.answers = [failure(code, 400)]
    with pytest.raises(Unavailable, match=f"^credentials: {code}: Why\\.$"):
        told.get(PATH)


def test_a_lost_answer_to_a_create_that_was_heard_is_a_win(told, scripted):
    scripted.answers = [(500, {}, b""), failure("PreconditionFailed", 412), (200, {}, b"mine")]
    assert told.put(PATH, b"mine", create=True) is True
    assert [asked.method for asked in scripted.asked] == ["PUT", "PUT", "GET"]
    scripted.answers = [(500, {}, b""), failure("PreconditionFailed", 412), (200, {}, b"other")]
    assert told.put(PATH, b"mine", create=True) is False


def test_a_conflict_is_asked_again_until_somebody_has_won(told, scripted):
    conflict = failure("ConditionalRequestConflict", 409)
    scripted.answers = [conflict, conflict, (200, {}, b"")]
    assert told.put(PATH, b"x", create=True) is True
    scripted.answers = [conflict, failure("PreconditionFailed", 412)]
    assert told.put(PATH, b"x", create=True) is False
    scripted.answers = [lambda asked: (200, MODIFIED, b"") if asked.method == "HEAD" else conflict]
    assert told.put(PATH, b"x", create=True) is False


def test_a_server_without_conditions_is_looked_at_first(told, scripted):
    def server(asked):
        if "if-none-match" in asked.headers:
            return failure("NotImplemented", 501)
        return (404, {}, b"") if asked.method == "HEAD" else (200, {}, b"<ListBucketResult/>")

    scripted.answers = [server]
    assert told.put(PATH, b"x", create=True) is True
    scripted.answers = [
        lambda asked: (200, MODIFIED, b"") if asked.method == "HEAD" else server(asked)
    ]
    assert told.put(PATH, b"x", create=True) is False


def test_a_server_that_is_busy_is_asked_twice_more(told, scripted):
    scripted.answers = [failure("SlowDown", 503), failure("SlowDown", 503), (200, {}, b"content")]
    assert told.get(PATH) == b"content"
    scripted.answers = [failure("SlowDown", 503)]
    del scripted.asked[:]
    with pytest.raises(Unavailable, match=r"^busy: SlowDown: Why\.$"):
        told.get(PATH)
    assert len(scripted.asked) == 3


def test_a_hit_is_one_request_and_a_miss_is_one(told, scripted):
    scripted.answers = [(200, {}, b"content"), failure("NoSuchKey", 404)]
    assert told.get(PATH) == b"content"
    assert told.get(PATH) is None
    assert [asked.method for asked in scripted.asked] == ["GET", "GET"]


def test_the_region_of_the_bucket_is_learned(told, scripted):
    def server(asked):
        if "/eu-west-7/s3/" in asked.headers["authorization"]:
            return 200, {}, b"content"
        return (
            400,
            {},
            b"<Error><Code>AuthorizationHeaderMalformed</Code><Region>eu-west-7</Region>",
        )

    scripted.answers = [server]
    assert told.get(PATH) == told.get(PATH) == b"content"
    assert len(scripted.asked) == 3


def test_a_region_that_does_not_help_is_said(told, scripted):
    scripted.answers = [
        (301, {"x-amz-bucket-region": "us-east-1"}, failure("PermanentRedirect")[2])
    ]
    with pytest.raises(Unavailable, match=r"^region: bucket is somewhere else"):
        told.get(PATH)


def test_a_listing_that_is_no_listing_is_an_error_and_not_an_empty_one(told, scripted):
    for body in (b"", b"<html>", b"<R><IsTruncated>true</IsTruncated></R>"):
        scripted.answers = [(200, {}, body)]
        with pytest.raises(Unavailable, match="a listing that cannot be read"):
            list(told.list("v1"))


def test_a_listing_that_fails_in_the_middle_is_an_error(told, scripted):
    page = b"""<R><Contents><Key>voices/v1/pins/a</Key><Size>1</Size>
        <LastModified>2026-11-21T12:42:54.123Z</LastModified></Contents>
        <IsTruncated>true</IsTruncated><NextContinuationToken>t/+=</NextContinuationToken></R>"""
    scripted.answers = [(200, {}, page), failure("InternalError", 500)]
    listing = told.list("v1/pins")
    assert next(listing) == ("v1/pins/a", 1, 1795264974.0)
    with pytest.raises(Unavailable):
        next(listing)
    assert "continuation-token=t%2F%2B%3D" in scripted.asked[-1].target


def test_amazon_itself_is_spoken_to_by_the_name_of_the_bucket(aws, monkeypatch):
    monkeypatch.setenv("AWS_REGION", "eu-north-1")
    assert S3Backend("s3://voices/x")._client.authority == "voices.s3.eu-north-1.amazonaws.com"
    assert S3Backend("s3://voices.of.us")._client.authority == "s3.eu-north-1.amazonaws.com"
    monkeypatch.setenv("AWS_REGION", "cn-north-1")
    assert S3Backend("s3://voices")._client.authority == "voices.s3.cn-north-1.amazonaws.com.cn"
