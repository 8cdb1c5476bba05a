"""The application: the routes, the page, and what is said when there is nothing."""

from __future__ import annotations

import functools
import hashlib
import mimetypes
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

from fastapi import APIRouter, FastAPI, Request
from fastapi.openapi.utils import get_openapi
from starlette.responses import Response

from stepaudio_cas import __version__
from stepaudio_cas.settings import read_settings
from stepaudio_cas.web.answers import answer
from stepaudio_cas.web.errors import ApiError
from stepaudio_cas.web.observer import Observer
from stepaudio_cas.web.pace import SHARE, Pace
from stepaudio_cas.web.reading import Reading
from stepaudio_cas.web.routing import dressed, route_class, said
from stepaudio_cas.web.service import Service
from stepaudio_cas.web.source import of_process
from stepaudio_cas.web.spool import LARGEST
from stepaudio_cas.web.tokens import Tokens
from stepaudio_cas.web.writing import Writing

if TYPE_CHECKING:
    from collections.abc import Callable

TITLE: Final = "stepaudio-cas"
_PAGE: Final = "index.html"


def make_router(service: Callable[[], Service]) -> APIRouter:
    """Make the routes of a service, to be put into any app of FastAPI."""
    made = APIRouter(route_class=route_class(service), tags=[TITLE])
    Reading(service).add_to(made)
    writing = Writing(service)
    uploads = APIRouter(route_class=route_class(service, LARGEST), tags=[TITLE])
    writing.add_uploads_to(uploads)
    writing.add_to(made)
    made.include_router(uploads)

    async def openapi() -> Response:
        """Describe the API."""
        return answer(describe(made))

    made.get("/api/v1/openapi.json", include_in_schema=False)(openapi)
    return made


def describe(router: APIRouter) -> dict[str, Any]:
    """Return the OpenAPI document."""
    return get_openapi(
        title=TITLE, version=__version__, routes=router.routes, servers=[{"url": "../.."}],
        description="What a store of speech artifacts holds, what it saves, and how it is doing.",
    )  # fmt: skip


def make_app(service: Service | Callable[[], Service]) -> FastAPI:
    """Make an application of its own: the routes, and the page at `/`."""
    behind = service if callable(service) else lambda: service
    made = FastAPI(
        title=TITLE, version=__version__, docs_url=None, redoc_url=None, openapi_url=None,
        redirect_slashes=False,
    )  # fmt: skip
    made.include_router(make_router(behind))
    pages = APIRouter(route_class=route_class(behind, page=True))
    found = _pages()

    async def page(request: Request, name: str = _PAGE) -> Response:
        """Serve a file that was there when we began: no path is made of a name."""
        if name not in found:
            raise ApiError(404, "there is no such page", "open the page of this server: /")
        body, kind, etag = found[name]
        headers = {"ETag": etag, "Cache-Control": "no-cache", "Content-Type": kind}
        if request.headers.get("if-none-match") == etag:
            return Response(status_code=304, headers=headers)
        return Response(body, headers=headers)

    for method in (pages.get, pages.head):
        method("/", include_in_schema=False)(page)
    pages.get("/static/{name}", include_in_schema=False)(page)
    made.include_router(pages)

    async def nothing(_: Request, error: Exception) -> Response:
        return dressed(said(error))

    for status in (404, 405):
        made.add_exception_handler(status, nothing)
    return made


def _pages() -> dict[str, tuple[bytes, str, str]]:
    found = {}
    for file in (resources.files("stepaudio_cas.web") / "static").iterdir():
        if file.is_file():
            body = file.read_bytes()
            kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
            kind += "; charset=utf-8" if kind.startswith("text/") else ""
            etag = f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'
            found[file.name] = body, kind, etag
    return found


@functools.cache
def own_service() -> Service:
    """Return the service of this process: what the plugins use, or what the environment names."""
    settings, _ = read_settings()
    if not settings.enabled:
        raise ApiError(503, "STEPAUDIO_CAS is not set", "set it to a store, and restart")
    source = of_process(settings, Observer())
    aside = Pace(SHARE) if source.cache is not None else None
    return Service(source, Tokens(settings.http_token_file), aside=aside)


def __getattr__(name: str) -> Any:
    """Make `router` and `app`, for this process, when they are asked for."""
    if name == "router":
        return _own_router()
    if name == "app":
        return _own_app()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@functools.cache
def _own_router() -> APIRouter:
    return make_router(own_service)


@functools.cache
def _own_app() -> FastAPI:
    return make_app(own_service)


if TYPE_CHECKING:
    router: APIRouter
    app: FastAPI
