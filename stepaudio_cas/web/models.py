"""What is sent and what is answered, for the OpenAPI document and for checking what comes."""

from __future__ import annotations

import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from stepaudio_cas.units import parse_bytes, parse_seconds

_LONGEST = 400
_MOST = 1000


class Said(BaseModel):
    """An answer. There may be more in it than is listed here."""

    model_config = ConfigDict(extra="allow")


class Trouble(Said):
    """What any answer of 400 and above says."""

    error: str
    remedy: str


class Stats(Said):
    """The figures of `cas-tool stats`, and of this process."""

    time: float
    store: str
    entries: int
    objects: int
    bytes: int
    limit: int | None
    calls: float
    hits: float
    misses: float
    hit_rate: float | None
    bypasses: float
    errors: float
    seconds_saved: float
    tiers: list[dict[str, Any]]
    by_plugin: dict[str, dict[str, Any]]
    by_model: dict[str, dict[str, Any]]
    top_voices: list[dict[str, Any]]
    counters: dict[str, float]
    process: dict[str, Any] | None


class History(Said):
    """Running totals, one after the other."""

    every: float
    points: list[dict[str, float]]


class Entry(Said):
    """An entry of a store, as `cas-tool ls` says it."""

    key: str
    plugin: str | None
    voice: str | None
    size: int
    used: str
    pinned: bool
    damage: str | None
    recording: str | None = None


class Entries(Said):
    """A page of entries. `complete` is False if there may be more than could be looked at."""

    entries: list[Entry]
    cursor: str | None
    complete: bool
    looked_at: int


class Misses(Said):
    """The last misses; `explaining` says that more is known in a moment."""

    source: Literal["process", "store"]
    explaining: bool
    complete: bool
    misses: list[dict[str, Any]]
    bypasses: list[dict[str, Any]]
    errors: list[dict[str, Any]]


class Prewarm(Said):
    """Who watches which folder, and the voices that were sent."""

    watched: list[dict[str, Any]]
    spool: dict[str, Any]
    why_not: str


class Sent(Said):
    """A voice that has been taken in."""

    id: str
    name: str
    bytes: int
    state: str


class Queued(Said):
    """A voice that is going to be looked at."""

    voice: str
    folder: str
    state: str


class Gone(Said):
    """A voice that was sent, and has been removed."""

    id: str
    removed: bool


class Removal(Said):
    """What has been removed, or would be."""

    store: str
    dry_run: bool
    entries: int
    objects: int
    bytes: int
    keys: list[str]


class Planned(Said):
    """What a collection would do; `plan` names it."""

    plan: str
    expires: float
    summary: dict[str, Any]


class Collected(Said):
    """What a collection has done."""

    summary: dict[str, Any]


class Check(Said):
    """One thing that is in order, or not."""

    name: str
    ok: bool
    detail: str


class Health(Said):
    """Whether everything is."""

    healthy: bool
    time: float
    checks: list[Check]


class Wish(BaseModel):
    """What somebody asks for; a name that is not known is refused."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _is_text(cls, value: object) -> object:
        """Refuse halves of characters, which JSON can name and nobody can write."""
        try:
            json.dumps(value, ensure_ascii=False, default=repr).encode()
        except UnicodeEncodeError:
            raise ValueError("there is half a character in it") from None
        return value


def _seconds(value: object) -> object:
    _is_number(value)
    return parse_seconds(value) if isinstance(value, str) else value


def _bytes(value: object) -> object:
    _is_number(value)
    return parse_bytes(value) if isinstance(value, str) else value


def _is_number(value: object) -> object:
    """Refuse true and false, which would be 1 and 0."""
    if isinstance(value, bool):
        raise ValueError("it is neither a number nor text")  # noqa: TRY004 - pydantic wants it
    return value


class ClearWish(Wish):
    """Which entries are to go: those of a plugin, of a model, or all."""

    plugin: str | None = Field(None, max_length=_LONGEST)
    model: str | None = Field(None, pattern="^[0-9a-f]{4,64}$")
    pinned_too: bool = False
    dry_run: bool = True


class RemovalWish(ClearWish):
    """Which entries are to go: by key, by voice, by what they are."""

    keys: list[str] = Field(default_factory=list, max_length=_MOST)
    words: list[str] = Field(default_factory=list, max_length=_MOST)
    label: str | None = Field(None, max_length=_LONGEST)
    older: float | None = Field(None, ge=0, description="seconds, or text such as 30d")
    larger: int | None = Field(None, ge=0, description="bytes, or text such as 1MB")

    _read_older = field_validator("older", mode="before")(_seconds)
    _read_larger = field_validator("larger", mode="before")(_bytes)


class CollectionWish(Wish):
    """The bounds that a store is to keep within."""

    max_size: int | None = Field(None, ge=0, description="bytes, or text such as 50GB")
    max_age: float | None = Field(None, ge=0, description="seconds, or text such as 90d")
    max_entries: int | None = Field(None, ge=0)
    keep_models: list[str] = Field(default_factory=list, max_length=100)
    plugin: str | None = Field(None, max_length=_LONGEST)
    policy: Literal["lru", "value"] = "lru"

    _read_age = field_validator("max_age", mode="before")(_seconds)
    _read_size = field_validator("max_size", mode="before")(_bytes)
    _read_entries = field_validator("max_entries", mode="before")(_is_number)


class VoiceWish(Wish):
    """A voice, by its name in a folder that is watched."""

    voice: str = Field(min_length=1, max_length=_LONGEST * 10)
