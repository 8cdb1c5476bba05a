"""The routes that only look."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response

from stepaudio_cas.errors import SettingError
from stepaudio_cas.maintenance.selection import Selection
from stepaudio_cas.units import parse_bytes, parse_seconds
from stepaudio_cas.web import entries, metrics, models
from stepaudio_cas.web.answers import answer
from stepaudio_cas.web.errors import ApiError
from stepaudio_cas.web.health import health
from stepaudio_cas.web.routing import troubles

if TYPE_CHECKING:
    from collections.abc import Callable

    from stepaudio_cas.web.service import Service

Text = Annotated[str | None, Query(max_length=400)]
Key = Annotated[str, Path(pattern="^[0-9a-f]{64}$")]
_Answers = dict[int | str, Any]
_UNWELL: Final[_Answers] = {503: {"model": models.Health, "description": "something is not"}}
_TEXT: Final[_Answers] = {200: {"content": {"text/plain": {}}, "description": "for Prometheus"}}
_STREAM: Final[_Answers] = {200: {"content": {"text/event-stream": {}}, "description": "events"}}
_FRESH: Final = {"Cache-Control": "no-cache"}


class Reading:
    """What can be asked."""

    def __init__(self, service: Callable[[], Service]) -> None:
        self._service = service

    def add_to(self, router: APIRouter) -> None:
        """Put the routes into a router."""
        get = router.get
        v1 = "/api/v1"
        get(f"{v1}/stats", response_model=models.Stats, responses=troubles())(self.stats)
        get("/api/cache/stats", include_in_schema=False)(self.stats)
        get(f"{v1}/history", response_model=models.History, responses=troubles())(self.history)
        get(f"{v1}/entries", response_model=models.Entries, responses=troubles())(self.entries)
        get(f"{v1}/entry/{{key}}", response_model=models.Entry, responses=troubles(404))(self.entry)
        get(f"{v1}/misses", response_model=models.Misses, responses=troubles())(self.misses)
        get(f"{v1}/prewarm", response_model=models.Prewarm, responses=troubles())(self.prewarm)
        get(f"{v1}/health", response_model=models.Health, responses={**troubles(), **_UNWELL})(
            self.health
        )
        router.head(f"{v1}/health", include_in_schema=False)(self.health)
        get(f"{v1}/metrics", response_class=Response, responses={**troubles(), **_TEXT})(
            self.metrics
        )
        get("/metrics", include_in_schema=False)(self.metrics)
        get(f"{v1}/events", response_class=Response, responses={**troubles(429), **_STREAM})(
            self.events
        )

    async def stats(self, request: Request, deep: bool = False) -> Response:
        """Say what the stores hold and what they have saved."""
        found = await self._service().figures.get(deep=deep)
        headers = {**_FRESH, "ETag": found.etag}
        if found.etag in _tags(request.headers.get("if-none-match", "")):
            return Response(status_code=304, headers=headers)
        return Response(found.body, headers=headers, media_type="application/json")

    async def history(self) -> Response:
        """Say how the figures have grown since this server began, an hour back at the most."""
        figures = self._service().figures
        return answer({"every": figures.every, "points": list(figures.points)})

    async def entries(  # noqa: PLR0917 - names of a query have no order
        self,
        q: Text = None,
        plugin: Text = None,
        model: Annotated[str | None, Query(pattern="^[0-9a-f]{1,64}$")] = None,
        label: Text = None,
        older: Annotated[str | None, Query(max_length=20, description="such as 30d")] = None,
        larger: Annotated[str | None, Query(max_length=20, description="such as 1MB")] = None,
        pinned: bool = False,
        sort: Literal["key", "used", "size", "created", "saved"] = "key",
        limit: Annotated[int, Query(ge=1, le=500)] = 50,
        cursor: Annotated[str | None, Query(max_length=64)] = None,
    ) -> Response:
        """List entries of the first store, page by page: those that are meant by all that is said.

        `q` is a key, how one begins, or the name of a voice, which may be a glob.
        """
        selection = Selection(
            plugin=plugin or None,
            model=model or None,
            label=label or None,
            older=_read(parse_seconds, older),
            larger=_read(parse_bytes, larger),
        )
        service = self._service()

        def look() -> dict[str, Any]:
            words = (q, *service.prewarming.spool.called(q)) if q else ()
            asked = entries.Asked(selection, words, pinned, sort, limit, cursor or "")
            return entries.page(service.source.first, asked, service.rest)

        found = await service.work.run(look)
        for entry in found["entries"]:
            self._name(entry)
        return answer(found)

    async def entry(self, key: Key) -> Response:
        """Say all that is known of an entry, and what its key is made of."""
        service = self._service()
        found = await service.work.run(lambda: entries.one(service.source.first, key))
        if found is None:
            raise ApiError(404, f"{key} is not in {service.source.first.url}", "list the entries")
        self._name(found)
        return answer(found)

    def _name(self, entry: dict[str, Any]) -> None:
        """Call an entry of a voice that was sent as its sender did, and say where it is heard."""
        recording, name = self._service().prewarming.spool.known(entry["voice"] or "")
        entry["recording"] = recording or None
        entry["voice"] = name or entry["voice"]

    async def misses(self, limit: Annotated[int, Query(ge=1, le=100)] = 20) -> Response:
        """List the last misses, and why each missed; also the last bypasses and errors."""
        service = self._service()
        service.explain()
        found = service.misses.listed(limit)
        return answer({**found, "explaining": service.explaining})

    async def prewarm(self) -> Response:
        """Say who watches which folder, and what became of the voices that were sent."""
        service = self._service()
        found = await service.work.run(service.prewarming.document)
        return answer(found)

    async def health(self) -> Response:
        """Say whether everything is in order: 200, or 503 with the reasons."""
        service = self._service()
        found = await service.pulse.run(
            lambda: health(service.source, service.prewarming.ours()), seconds=10.0
        )
        return answer(found, 200 if found["healthy"] else 503)

    async def metrics(self, request: Request) -> Response:
        """Say it to Prometheus."""
        service = self._service()
        figures = await service.figures.soon()
        watched = await service.work.run(service.prewarming.states)
        accept = request.headers.get("accept", "")
        body, kind = metrics.exposition(service.source, figures, watched, accept)
        return Response(body, headers={"Content-Type": kind})

    async def events(
        self, request: Request, last_event_id: Annotated[str, Query(max_length=60)] = ""
    ) -> Any:
        """Tell what happens, as it happens: hits, misses, bypasses, errors, prewarming."""
        last = request.headers.get("last-event-id", "")[:60] or last_event_id
        return self._service().feed.stream(last)


def _read(parse: Callable[[str], Any], text: str | None) -> Any:
    if not text:
        return None
    try:
        return parse(text)
    except ValueError as error:
        raise SettingError(str(error)) from None


def _tags(text: str) -> set[str]:
    return {tag.strip() for tag in text.split(",")}
