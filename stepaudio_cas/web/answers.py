"""Writing what is answered: whatever a store or a folder is called, and whatever it holds."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

if TYPE_CHECKING:
    from collections.abc import Mapping


def as_json(document: Any) -> bytes:
    """Write it in ASCII: names of files may be none that UTF-8 can write.

    What JSON has no number for is null, as a browser reads nothing else.
    """
    try:
        return _json(document)
    except ValueError:
        return _json(_finite(document))


def answer(document: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Answer with a document."""
    return Response(as_json(document), status, headers, "application/json")


def _json(document: Any) -> bytes:
    text = json.dumps(document, separators=(",", ":"), default=repr, allow_nan=False)
    return text.encode("ascii")


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
