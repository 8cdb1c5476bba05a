"""A server on a port of its own, standalone or beside a cache, and a client that is no browser."""

import pytest

import stepaudio_cas as cas
from stepaudio_cas.settings import Settings
from tests.web.serving import Served, Standalone


def fill(root):
    """Make entries of a host that has been: two functions, three voices."""
    with cas.open(root, log="off") as cache:
        tokens = cache.cached(version="1", name="host.tokens")(lambda audio: [len(audio)] * 3)
        speaker = cache.cached(version="1", name="host.speaker")(lambda audio: b"x" * 100)
        for voice in (b"anna", b"bert!", b"clara?"):
            tokens(voice)
            tokens(voice)
        speaker(b"anna")
    return root


@pytest.fixture
def store(root):
    return fill(root)


@pytest.fixture(scope="module")
def still(tmp_path_factory):
    """Serve a store that no test changes: one server for all tests of a module."""
    folder = tmp_path_factory.mktemp("still")
    token = folder / "token"
    token.write_text("a-token-of-many-letters\n")
    server = Standalone(Settings(stores=(str(fill(folder / "store")),)), token, folder)
    yield server
    server.close()


@pytest.fixture
def token_file(tmp_path):
    path = tmp_path / "token"
    path.write_text("a-token-of-many-letters\n")
    path.chmod(0o600)
    return path


@pytest.fixture
def fresh(monkeypatch):
    """Figures are worked out anew for everybody who asks."""
    monkeypatch.setattr("stepaudio_cas.web.figures.NEAR", 0.0)
    monkeypatch.setattr("stepaudio_cas.web.figures._PER_SECOND", 0.0)


@pytest.fixture
def serve(store, token_file, tmp_path):
    """Serve the stores, standalone."""
    started = []

    def serve_(url=None, **how):
        settings = Settings(stores=(str(url or store),), **how.pop("settings", {}))
        started.append(Standalone(settings, token_file, tmp_path, **how))
        return started[-1]

    yield serve_
    for server in started:
        server.close()


@pytest.fixture
def api(serve):
    return serve()


@pytest.fixture
def host(open_cache, token_file, tmp_path):
    """Serve a cache that is at work in this process."""
    cache = open_cache()
    with Served(cache, token_file, tmp_path) as served:
        yield served


@pytest.fixture(scope="module")
def chromium():
    """A browser, for a module at most: while it runs, no loop can be run in this thread."""
    from tests.web.chromium import browser

    with browser() as started:
        yield started


@pytest.fixture(scope="module")
def troubles():
    """What broke in the pages that were opened, and whom they asked beside their server."""
    return []


@pytest.fixture
def harmless(troubles):
    """Whatever a test does, its pages break nothing and ask nobody else."""
    yield
    assert troubles == []


@pytest.fixture
def visit(chromium, troubles):
    """Open pages, each in a browser that knows nothing."""
    from tests.web.chromium import open_page

    contexts = []

    def visit_(url, **how):
        page = open_page(chromium, url, troubles, **how)
        contexts.append(page.context)
        return page

    yield visit_
    for context in contexts:
        context.close()
