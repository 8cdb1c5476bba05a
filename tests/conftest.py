"""Fixtures that every room's tests share."""

import os
import signal

import pytest

import stepaudio_cas as cas
from tests.support.gcs import fake_gcs, gcs_url  # noqa: F401 - fixtures
from tests.support.redis_server import own_redis, redis_server, redis_url  # noqa: F401
from tests.support.scripted import scripted  # noqa: F401
from tests.support.seaweedfs import aws, own_seaweedfs, s3_url, seaweedfs  # noqa: F401

# A run in the background has Ctrl-C ignored, and so would all that tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch, tmp_path):
    """No setting of the machine reaches a test, and no test reaches the user's own store."""
    for name in list(os.environ):
        if name.startswith("STEPAUDIO_CAS"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))


@pytest.fixture
def root(tmp_path):
    """Where a local store goes."""
    return tmp_path / "store"


@pytest.fixture
def open_cache(root):
    """Open caches (on the local store `root` unless told otherwise) and close them afterwards."""
    opened = []

    def open_(url=None, **settings):
        settings.setdefault("log", "off")
        cache = cas.open(root if url is None else url, **settings)
        opened.append(cache)
        return cache

    yield open_
    for cache in opened:
        cache.close()
