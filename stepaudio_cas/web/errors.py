"""What goes wrong in a request, said the same way everywhere: what happened, and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException

from stepaudio_cas.errors import CasError, SettingError
from stepaudio_cas.maintenance.selection import NotThere

if TYPE_CHECKING:
    from collections.abc import Mapping


class ApiError(HTTPException):
    """An answer that is not what was asked for."""

    def __init__(
        self, status: int, error: str, remedy: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(status, error, dict(headers or {}))
        self.error, self.remedy = error, remedy


def of_cas(error: CasError) -> ApiError:
    """Say one of our own exceptions; their texts are written for people."""
    if isinstance(error, SettingError):
        return ApiError(
            400, str(error), "correct the value; api/v1/openapi.json says what is known"
        )
    if isinstance(error, NotThere):
        return ApiError(404, str(error), "GET api/v1/entries lists what is there")
    return ApiError(503, str(error), "GET api/v1/health says what is wrong")


def busy() -> ApiError:
    """Say that enough is being done at the moment."""
    return ApiError(
        503, "too much is being asked for at once", "try again in a moment", {"Retry-After": "2"}
    )
