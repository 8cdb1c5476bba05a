"""The routes that change something, or give out what somebody has said: each needs the token."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Annotated, Any, Final

from fastapi import APIRouter, Body, Path, Query, Request, Security
from fastapi.security import HTTPBearer
from starlette.responses import Response

from stepaudio_cas.maintenance.gc import Asked
from stepaudio_cas.maintenance.plan import Bounds
from stepaudio_cas.maintenance.selection import EVERYTHING, Selection
from stepaudio_cas.web import models, removal
from stepaudio_cas.web.answers import answer
from stepaudio_cas.web.errors import ApiError
from stepaudio_cas.web.routing import troubles

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stepaudio_cas.web.service import Service

LONG: Final = 3600.0
_TOKEN: Final = Security(HTTPBearer(auto_error=False, scheme_name="token"))
Identity = Annotated[str, Path(pattern="^[0-9a-f]{32}$")]
Name = Annotated[str, Query(min_length=1, max_length=400, description="what the file is called")]
_BYTES: Final = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}

_HEARD: Final[dict[str, Any]] = {
    "responses": {
        **troubles(404),
        200: {"content": {"application/octet-stream": {}}, "description": "the recording"},
    }
}


class Writing:
    """What can be changed."""

    def __init__(self, service: Callable[[], Service]) -> None:
        self._service = service

    def add_to(self, router: APIRouter) -> None:
        """Put the routes into a router."""
        post, v1 = router.post, "/api/v1"
        how: dict[str, Any] = {"dependencies": [_TOKEN]}
        said: dict[str, Any] = {"responses": troubles(404, 408, 409, 413), **how}
        post(f"{v1}/rm", response_model=models.Removal, **said)(self.rm)
        post(f"{v1}/clear", response_model=models.Removal, **said)(self.clear)
        post("/api/cache/clear", include_in_schema=False, **how)(self.clear_all)
        post(f"{v1}/gc", response_model=models.Planned, **said)(self.gc)
        post(f"{v1}/gc/{{plan}}/run", response_model=models.Collected, **said)(self.gc_run)
        queued: dict[str, Any] = {"response_model": models.Queued, "status_code": 202}
        post(f"{v1}/prewarm", **queued, **said)(self.prewarm)
        post("/api/cache/warmup", include_in_schema=False, status_code=202, **how)(self.prewarm)
        router.delete(f"{v1}/prewarm/upload/{{voice}}", response_model=models.Gone, **said)(
            self.take_back
        )
        router.get(f"{v1}/prewarm/upload/{{voice}}", response_class=Response, **_HEARD, **how)(
            self.recording
        )

    def add_uploads_to(self, router: APIRouter) -> None:
        """Put the route that takes files into a router, whose bodies may be larger."""
        router.post(
            "/api/v1/prewarm/upload", response_model=models.Sent, status_code=202,
            responses=troubles(408, 409, 413, 415, 507), dependencies=[_TOKEN],
            openapi_extra=_BYTES,
        )(self.upload)  # fmt: skip

    async def rm(self, wish: models.RemovalWish) -> Response:
        """Remove entries that are named, or that filters find; say what it would free first."""
        selection = Selection(
            plugin=wish.plugin, model=wish.model, older=wish.older, larger=wish.larger,
            label=wish.label,
        )  # fmt: skip
        words = [*wish.keys, *wish.words]
        if selection == EVERYTHING and not words:
            raise ApiError(400, "nothing is selected", "give keys, words or filters, or clear")
        if "" in words:
            raise ApiError(400, "an empty name means no entry", "leave it out")
        return await self._remove(selection, words, wish)

    async def clear(self, wish: models.ClearWish) -> Response:
        """Remove every entry that is not pinned; say what it would free first."""
        return await self._remove(Selection(plugin=wish.plugin, model=wish.model), (), wish)

    async def clear_all(self, wish: Annotated[models.ClearWish | None, Body()] = None) -> Response:
        """Remove every entry that is not pinned, as the recipes do that are about."""
        return await self.clear(wish or models.ClearWish(plugin=None, model=None, dry_run=False))

    async def _remove(
        self, selection: Selection, words: Sequence[str], wish: models.ClearWish
    ) -> Response:
        service = self._service()
        if not wish.dry_run:
            self._must_write()
        found = await service.work.run(
            lambda: removal.remove(
                service.source, selection, words,
                pinned_too=wish.pinned_too, dry_run=wish.dry_run, rest=service.rest,
            ),
            seconds=LONG,
        )  # fmt: skip
        return answer(found)

    async def gc(self, wish: models.CollectionWish) -> Response:
        """Look at everything, and say what would go; carry it out by the name it gets."""
        service, name = self._service(), secrets.token_hex(16)
        bounds = Bounds(
            max_size=wish.max_size, max_age=wish.max_age, max_entries=wish.max_entries,
            by_value=wish.policy == "value",
        )  # fmt: skip
        asked = Asked(bounds, wish.plugin, tuple(wish.keep_models))
        rest = service.rest
        found = await service.work.run(lambda: service.plans.make(name, asked, rest), seconds=LONG)
        return answer(found)

    async def gc_run(self, plan: Identity) -> Response:
        """Remove what a plan says, and nothing that was used or written since."""
        self._must_write()
        service = self._service()
        rest = service.rest
        found = await service.work.run(lambda: service.plans.run(plan, rest), seconds=LONG)
        return answer(found)

    async def prewarm(self, wish: models.VoiceWish) -> Response:
        """Have a voice in a watched folder looked at again: found by its name, never by a path."""
        self._must_write()
        service = self._service()
        found = await service.work.run(lambda: service.prewarming.again(wish.voice))
        return answer(found, 202)

    async def upload(self, request: Request, name: Name) -> Response:
        """Take in the recording that is the body, and have it encoded."""
        service = self._service()
        prewarming, run = service.prewarming, service.work.run
        why_not = await run(prewarming.why_not)
        if why_not:
            raise ApiError(409, "nobody would encode it", why_not)
        with prewarming.spool.begin(name) as arriving:
            async for chunk in request.stream():
                if chunk:
                    arriving.write(chunk)
            arriving.finish()
        shown = prewarming.spool.name_of(arriving.path)
        said = {"id": arriving.id, "name": shown, "bytes": arriving.bytes, "state": "queued"}
        return answer(said, 202)

    async def recording(self, request: Request, voice: Identity) -> Response:
        """Return a recording that was sent, to whoever has the token: it is somebody's voice."""
        service = self._service()
        service.guard.check(request, writing=True)
        found = await service.work.run(lambda: service.prewarming.spool.read(voice))
        if found is None:
            raise ApiError(404, "no such voice was sent", "GET api/v1/prewarm lists them")
        headers = {"Content-Disposition": "attachment", "Content-Type": "application/octet-stream"}
        return Response(found, headers=headers)

    async def take_back(self, voice: Identity) -> Response:
        """Remove a voice that was sent; it is then unpinned, and its entries are left to gc."""
        self._must_write()
        service = self._service()
        if not await service.work.run(lambda: service.prewarming.spool.remove(voice)):
            raise ApiError(404, "no such voice was sent", "GET api/v1/prewarm lists them")
        return answer({"id": voice, "removed": True})

    def _must_write(self) -> None:
        if not self._service().source.writable:
            raise ApiError(403, "the mode is ro: nothing is changed", "set STEPAUDIO_CAS_MODE=rw")
