"""Our routes in an app that is there already."""

import asyncio
import threading
from urllib.parse import urljoin

import pytest
import uvicorn
from fastapi import FastAPI
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware

import stepaudio_cas.web as web
from stepaudio_cas.settings import Settings
from stepaudio_cas.web import application as apps
from stepaudio_cas.web.server import bind
from stepaudio_cas.web.service import Service
from stepaudio_cas.web.source import of_settings
from stepaudio_cas.web.tokens import Tokens
from tests.support.processes import wait_until
from tests.web.serving import BEARER, Client, Events


class Host(Client):
    """An app of somebody else's, served as people do."""

    def __init__(self, app):
        self._socket = bind("127.0.0.1:0")
        self.port = self._socket.getsockname()[1]
        self._server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off"))
        work = self._server.serve([self._socket])
        self._thread = threading.Thread(target=asyncio.run, args=(work,), daemon=True)
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._server.should_exit = True
        self._thread.join(30)
        self._socket.close()


@pytest.fixture
def service(store, token_file):
    made = Service(of_settings(Settings(stores=(str(store),))), Tokens(str(token_file)))
    yield made
    made.work.close()


def test_the_router_is_guarded_in_an_app_of_somebody_else(service):
    app = FastAPI()

    @app.get("/theirs")
    def theirs():
        return "theirs"

    app.include_router(apps.make_router(lambda: service), prefix="/cas")
    with Host(app) as host:
        assert host.get("/theirs").json == "theirs"
        assert "content-security-policy" not in host.get("/theirs").headers
        assert host.get("/cas/api/v1/stats").json["entries"] == 4
        assert host.get("/cas/metrics").status == 200
        assert host.get("/cas/api/v1/stats", {"Host": "evil.example"}).status == 421
        assert host.post("/cas/api/v1/clear", headers={}).status == 401
        assert host.post("/cas/api/v1/clear", headers=BEARER).json["entries"] == 4
        described = host.get("/openapi.json").json["paths"]
        assert {"/theirs", "/cas/api/v1/stats"} <= set(described)


def test_the_app_with_its_page_is_mounted_below_a_path(service):
    app = FastAPI()
    app.mount("/cas", apps.make_app(service))
    with Host(app) as host:
        assert host.get("/cas/").headers["content-type"].startswith("text/html")
        assert host.get("/cas/api/v1/stats").json["entries"] == 4
        assert host.get("/cas/nothing").json["remedy"]


def test_the_router_of_this_process_serves_what_the_environment_names(store, monkeypatch):
    monkeypatch.setenv("STEPAUDIO_CAS", str(store))
    for made in (apps.own_service, apps._own_router):
        made.cache_clear()
    app = FastAPI()
    app.include_router(web.router)
    with Host(app) as host:
        assert host.get("/api/v1/stats").json["entries"] == 4
        answer = host.post("/api/v1/clear", headers={})
        assert "STEPAUDIO_CAS_HTTP_TOKEN_FILE" in answer.json["remedy"]
    for made in (apps.own_service, apps._own_router):
        made.cache_clear()


def test_without_a_store_the_router_says_so():
    for made in (apps.own_service, apps._own_router):
        made.cache_clear()
    app = FastAPI()
    app.include_router(web.router)
    with Host(app) as host:
        answer = host.get("/api/v1/stats")
    assert (answer.status, answer.json["error"]) == (503, "STEPAUDIO_CAS is not set")
    apps._own_router.cache_clear()


class Passing(BaseHTTPMiddleware):
    """What many apps have: it hides what the server is from what it wraps."""

    async def dispatch(self, request, call_next):
        return await call_next(request)


def bare(app):
    return app


def behind_middleware(app):
    app.add_middleware(GZipMiddleware, minimum_size=1)
    app.add_middleware(CORSMiddleware, allow_origins=["*"])
    app.add_middleware(Passing)
    return app


@pytest.mark.parametrize("dress", [bare, behind_middleware])
def test_an_app_with_a_page_open_ends_when_it_is_told_to(service, dress, monkeypatch):
    app = FastAPI()
    app.include_router(apps.make_router(lambda: service))
    with Host(dress(app)) as host, Events(host) as events:
        service.feed.publish([("error", {"text": "x"})])
        assert events.next("error")[1] == {"text": "x"}
        with monkeypatch.context() as patch:
            if dress is behind_middleware:  # as uvicorn has it in a main thread
                patch.setattr("signal.getsignal", lambda _: host._server.handle_exit)
            host._server.should_exit = True
            host._thread.join(60)
        assert not host._thread.is_alive()
    assert service.feed.clients == 0


@pytest.mark.parametrize("dress", [bare, behind_middleware])
def test_who_leaves_an_app_listens_no_more(service, dress):
    app = FastAPI()
    app.include_router(apps.make_router(lambda: service))
    with Host(dress(app)) as host:
        with Events(host):
            wait_until(lambda: service.feed.clients == 1)
        wait_until(lambda: service.feed.clients == 0)


def test_middleware_of_an_app_opens_nothing_to_strangers(service):
    app = FastAPI()
    app.include_router(apps.make_router(lambda: service))
    with Host(behind_middleware(app)) as host:
        stranger = {"Origin": "https://evil.example"}
        assert host.get("/api/v1/stats", stranger).status == 403
        assert host.post("/api/v1/clear", headers={**BEARER, **stranger}).status == 403
        assert host.get("/api/v1/stats", {"X-Forwarded-For": "127.0.0.1"}).status == 401
        assert host.get("/api/v1/stats", {"Host": "evil.example"}).status == 421


def test_the_app_is_there_before_there_is_a_store(monkeypatch):
    for made in (apps.own_service, apps._own_app):
        made.cache_clear()
    app = FastAPI()
    app.mount("/cas", web.app)
    with Host(app) as host:
        answer = host.get("/cas/api/v1/stats")
        assert (answer.status, answer.json["error"]) == (503, "STEPAUDIO_CAS is not set")
        assert host.get("/cas/nothing").status == 404
    apps._own_app.cache_clear()


def test_stores_are_opened_outside_the_loop_of_an_app(service):
    threads = []

    def opened():
        threads.append(threading.current_thread())
        return service

    app = FastAPI()
    app.include_router(apps.make_router(opened))
    with Host(app) as host:
        loop = host._thread
        assert host.get("/api/v1/stats").status == 200
    assert loop not in threads[:1]


@pytest.mark.parametrize("prefix", ["", "/cas", "/a/b"])
def test_the_description_says_where_its_paths_begin(service, prefix):
    app = FastAPI()
    app.include_router(apps.make_router(lambda: service), prefix=prefix)
    with Host(app) as host:
        where = f"http://localhost{prefix}/api/v1/openapi.json"
        (server,) = host.get(f"{prefix}/api/v1/openapi.json").json["servers"]
    assert urljoin(where, server["url"]).rstrip("/") == f"http://localhost{prefix}"


def test_what_is_not_public_is_not_there():
    with pytest.raises(AttributeError):
        web.nothing  # noqa: B018 - looking is what fails
