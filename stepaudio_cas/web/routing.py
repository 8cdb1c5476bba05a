"""How every route of ours answers: guarded, with a limited body and our own words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

from stepaudio_cas.errors import CasError
from stepaudio_cas.web.answers import answer
from stepaudio_cas.web.errors import ApiError, of_cas
from stepaudio_cas.web.guard import HEADERS, LARGEST_BODY, Limited
from stepaudio_cas.web.models import Trouble
from stepaudio_cas.web.pace import Pace
from stepaudio_cas.web.work import Work

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from starlette.responses import Response
    from starlette.types import Scope

    from stepaudio_cas.web.service import Service

_READING: Final = frozenset({"GET", "HEAD"})
_TEXTS: Final = {
    400: "a value that cannot be used",
    401: "the token is missing, or is not the right one",
    403: "it is not allowed here, or a page of another site asks",
    404: "it is not there",
    408: "the body was too long in coming",
    409: "not now: it is gone, taken, or nobody would do it",
    413: "it is too large",
    415: "it is no recording",
    421: "this server is not called so",
    422: "it is not what the description asks for",
    429: "too many listen already",
    503: "the store does not answer, or too much is asked for at once",
    507: "there is no room",
}


def troubles(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe answers for the OpenAPI document, those that every route can give among them."""
    common = (400, 401, 403, 421, 422, 503)
    return {
        status: {"model": Trouble, "description": _TEXTS[status]}
        for status in sorted({*common, *statuses})
    }


def route_class(
    service: Callable[[], Service], largest: int = LARGEST_BODY, *, page: bool = False
) -> type[APIRoute]:
    """Make the class of routes that belong to a service; of a `page`, anybody may load them."""
    opened = _Opened(service)

    class Guarded(APIRoute):
        """One of ours."""

        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            handle = super().get_route_handler()
            writing = not (self.methods or set()) <= _READING

            async def guarded(request: Request) -> Response:
                try:
                    behind = await opened()
                    behind.guard.check(request, writing=writing, page=page)
                    if not page:
                        behind.asked()
                    limited = Limited(request, request.receive, largest)
                    scope = _as_json(request.scope) if writing else request.scope
                    response = await handle(Request(scope, limited))
                except Exception as error:
                    response = said(error)
                return dressed(response)

            return guarded

    return Guarded


class _Opened:
    """Has a service made in a thread of ours: stores are opened, and the loop may be a host's."""

    def __init__(self, service: Callable[[], Service]) -> None:
        self._service, self._work = service, Work(Pace(), threads=1)
        self._made: Service | None = None

    async def __call__(self) -> Service:
        if self._made is None:
            self._made = await self._work.run(self._service)
            self._work.close()
        return self._made


def _as_json(scope: Scope) -> Scope:
    """Take every body for JSON, whatever `curl -d` calls it; the route of files reads bytes."""
    headers = [pair for pair in scope["headers"] if pair[0] != b"content-type"]
    return {**scope, "headers": [*headers, (b"content-type", b"application/json")]}


def said(error: Exception) -> Response:
    """Answer what went wrong. What is no error of ours goes to the server's own."""
    if isinstance(error, CasError):
        error = of_cas(error)
    if isinstance(error, ApiError):
        document = {"error": error.error, "remedy": error.remedy}
        return answer(document, error.status_code, dict(error.headers or {}))
    if isinstance(error, RequestValidationError):
        first = error.errors()[0]
        where = ".".join(str(part) for part in first.get("loc", ())[1:])
        text = f"{where}: {first.get('msg', '')}".removeprefix(": ")
        return answer({"error": text, "remedy": "api/v1/openapi.json says what fits"}, 422)
    if isinstance(error, ClientDisconnect):
        return answer({"error": "you have gone", "remedy": "ask again"}, 400)
    if isinstance(error, HTTPException):
        remedy = "api/v1/openapi.json says what there is"
        document = {"error": str(error.detail), "remedy": remedy}
        return answer(document, error.status_code, dict(error.headers or {}))
    text = f"{type(error).__name__}: {error}"
    remedy = "GET api/v1/health says whether the store can be reached; else please report it"
    return answer({"error": text, "remedy": remedy}, 503)


def dressed(response: Response) -> Response:
    """Put on what every answer carries."""
    for name, value in HEADERS.items():
        if name not in response.headers:
            response.headers[name] = value
    if "Cache-Control" not in response.headers:
        response.headers["Cache-Control"] = "no-store"
    return response
