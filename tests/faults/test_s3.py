"""Hosts and their S3 server: it dies, hangs, refuses; another process comes to it cold."""

import json
import subprocess
import sys
import uuid

import pytest

from stepaudio_cas.errors import Unavailable
from stepaudio_cas.store.urls import open_backend
from tests.support.processes import REPOSITORY, wait_until
from tests.support.seaweedfs import READER
from tests.support.values import Computation, counters, recipe, tokens

LONG = "60s"


@pytest.fixture
def url(s3_url):
    return f"{s3_url}/{uuid.uuid4().hex}"


def encode(cache, number=0):
    """Ask for a voice; return its tokens and whether the host had to compute them."""
    computation = Computation(number=number)
    value = cache.get_or_compute(recipe(number), computation)
    return value, computation.runs


def works(cache, number):
    """Tell whether a voice is kept, as if the pauses of all breakers were over."""
    [tier] = cache.chain.tiers
    for breaker in (tier.reading, tier.writing):
        if breaker._open_until is not None:
            breaker._open_until = 0.0
    encode(cache, number)
    return encode(cache, number)[1] == 0


COLD = """
import json, sys
import stepaudio_cas as cas
from tests.support.values import recipe
cache = cas.open(sys.argv[1], log="off", deadline="60s")
value = cache.get_or_compute(recipe(0), lambda: ([0], [0], [0]))
print(json.dumps([value, cache.stats()["hits"]]))
cache.close()
"""


def test_a_cold_process_hits_what_another_one_wrote(open_cache, url):
    with open_cache(url, deadline=LONG) as cache:
        assert encode(cache) == (tokens(0), 1)
        assert cache.flush(60)
    done = subprocess.run(
        [sys.executable, "-c", COLD, url],
        cwd=REPOSITORY, capture_output=True, text=True, check=True, timeout=100,
    )  # fmt: skip
    value, hits = json.loads(done.stdout)
    assert tuple(value) == tokens(0)
    assert hits == 1


def test_data_is_there_after_the_server_was_killed_and_the_same_backend_goes_on(own_seaweedfs):
    backend = open_backend("s3://voices/store")
    for number in range(20):
        backend.put(f"v1/objects/00/{number}", b"%d" % number)
    own_seaweedfs.kill()
    with pytest.raises(Unavailable, match="refuses connections"):
        backend.get("v1/objects/00/0")
    own_seaweedfs.start()
    assert [backend.get(f"v1/objects/00/{n}") for n in range(20)] == [b"%d" % n for n in range(20)]
    assert len(list(backend.list("v1/objects"))) == 20


def test_a_cache_goes_on_without_its_server_and_recovers_by_itself(own_seaweedfs, open_cache):
    cache = open_cache("s3://voices/store", memory="0", deadline=LONG)
    [tier] = cache.chain.tiers
    assert encode(cache) == (tokens(0), 1)
    assert encode(cache) == (tokens(0), 0)
    own_seaweedfs.kill()
    assert encode(cache) == (tokens(0), 1)
    for number in range(1, 5):
        assert encode(cache, number) == (tokens(number), 1)
    assert tier.reading.state == "open"
    own_seaweedfs.start()
    wait_until(lambda: works(cache, 0))  # what was there
    wait_until(lambda: works(cache, 9))  # what is new
    assert (tier.reading.state, tier.writing.state) == ("closed", "closed")


def test_a_server_that_hangs_costs_a_few_deadlines_and_then_nothing(own_seaweedfs, open_cache):
    cache = open_cache("s3://voices/store", memory="0", deadline="0.2s")
    [tier] = cache.chain.tiers
    own_seaweedfs.freeze()
    try:
        for number in range(40):
            assert encode(cache, number) == (tokens(number), 1)
        assert tier.reading.state == "open"
        waited = sum(n for name, n in counters(cache).items() if name.startswith("error."))
        assert 3 <= waited <= 12  # reading, writing and what runs beside; not one for each call
    finally:
        own_seaweedfs.thaw()

    wait_until(lambda: works(cache, 0))


def test_who_may_only_read_is_told_once_and_goes_on_reading(url, open_cache, aws, capfd):
    with open_cache(url, deadline=LONG) as writer:
        encode(writer)
        assert writer.flush(60)
    aws(credentials=READER)
    cache = open_cache(url, memory="0", deadline=LONG, log="error")
    assert encode(cache) == (tokens(0), 0)
    for number in range(1, 6):
        assert encode(cache, number) == (tokens(number), 1)
    assert encode(cache) == (tokens(0), 0)
    [tier] = cache.chain.tiers
    assert not tier.writable
    assert (tier.reading.state, tier.writing.state) == ("closed", "closed")
    cache.close()
    said = capfd.readouterr().err
    assert said.count("is only read from here on") == 1
    assert "not allowed to write" in said
    assert counters(cache)["error.denied.s3"] >= 1


@pytest.mark.parametrize(
    ("store", "secret", "words"),
    [
        ("voices", "wrong", "credentials: Signature"),
        ("there-is-none", None, "not allowed to write"),
    ],
)
def test_a_host_that_is_set_up_wrongly_gets_its_results_and_one_line(
    s3_url, open_cache, aws, monkeypatch, capfd, store, secret, words
):
    aws(credentials=READER)
    if secret is not None:
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
    cache = open_cache(f"s3://{store}/x", memory="0", deadline=LONG, log="error")
    for number in range(4):
        assert encode(cache, number) == (tokens(number), 1)
    assert words in capfd.readouterr().err


def test_two_processes_that_encode_one_voice_end_with_one(url, open_cache):
    first = open_cache(url, memory="0", deadline=LONG)
    second = open_cache(url, memory="0", deadline=LONG)
    other = ([7], [8], [9])

    def while_computing():
        assert encode(first) == (tokens(0), 1)
        return other

    assert second.get_or_compute(recipe(0), while_computing) == tokens(0)
    assert counters(second)["lost"] == 1
