"""What the operator has set: `STEPAUDIO_CAS` and its relatives, from the environment or TOML."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from stepaudio_cas.units import Lifetimes, lifetimes, parse_bytes, parse_lifetimes, parse_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

PREFIX: Final = "STEPAUDIO_CAS"
LONGEST: Final = 1.0
"""Seconds a store gets for an answer where no deadline is set, and nothing is known yet."""

OFF: Final = {"", "0", "off", "false", "no"}
_ON: Final = {"1", "on", "true", "yes"}
_SEVERAL_HOSTS: Final = re.compile(r"rediss?\+(sentinel|cluster)://[^/?]*").fullmatch
_LAST_PORT: Final = 65535
_HOST_AND_PORT: Final = re.compile(r"[^/?\s]+:\d+(?:[/?].*)?").fullmatch


class Mode(str, Enum):
    """What may be done with the stores."""

    RW = "rw"
    RO = "ro"
    REFRESH = "refresh"
    OFF = "off"


class Level(str, Enum):
    """How much is said on stderr."""

    OFF = "off"
    ERROR = "error"
    INFO = "info"
    DEBUG = "debug"


class Strictness(str, Enum):
    """What a fingerprint takes for the same model."""

    MODEL = "model"
    STRICT = "strict"


@dataclass(frozen=True)
class Settings:
    """Everything that can be set, with its default."""

    stores: tuple[str, ...] = ()
    memory: int = 256 * 1000**2
    mode: Mode = Mode.RW
    max_size: int | None = None
    ttl: float | Lifetimes | None = None
    plugins: tuple[str, ...] | None = None
    fingerprint: Strictness = Strictness.MODEL
    verify: float = 0.0
    signing_key_file: str | None = None
    log: Level = Level.INFO
    deadline: float | None = None
    state: str | None = None
    prefetch: str | int = 0
    watch: tuple[str, ...] = ()
    tune: str = ""
    http: str = ""
    http_token_file: str | None = None
    panel: str = ""

    @property
    def patience(self) -> float:
        """How long a store may take for an answer, at the most."""
        return LONGEST if self.deadline is None else self.deadline

    @property
    def enabled(self) -> bool:
        """Whether there is anything to do at all."""
        return bool(self.stores) and self.mode is not Mode.OFF

    def override(self, **values: Any) -> Settings:
        """Return a copy with other values; text is read as it would be from the environment."""
        readers = dict(_READERS.values())
        for name, value in values.items():
            if name not in readers:
                raise ValueError(f"no setting {name!r}; there are {', '.join(readers)}")
            if isinstance(value, str):
                try:
                    values[name] = readers[name](value)
                except ValueError as error:
                    raise ValueError(f"{name}: {error}") from None
        return replace(self, **values)


@dataclass(frozen=True)
class Problem:
    """A value that cannot be used; the rest works."""

    name: str
    text: str

    def __str__(self) -> str:
        return f"{self.name}: {self.text}"


def read_settings(
    environment: Mapping[str, str] | None = None,
) -> tuple[Settings, list[Problem]]:
    """Read the settings and say, by name, which values had to be ignored.

    A variable in the environment wins over the same name in the TOML file that
    `STEPAUDIO_CAS_CONFIG` names.
    """
    environment = os.environ if environment is None else environment
    problems: list[Problem] = []
    values = _from_file(environment.get(f"{PREFIX}_CONFIG", ""), problems)
    values |= environment
    settings = Settings()
    for name, text in sorted(values.items()):
        ours = name == PREFIX or name.startswith(f"{PREFIX}_")
        if not ours or name == f"{PREFIX}_CONFIG":
            continue
        reader = _READERS.get(name)
        if reader is None:
            problems.append(Problem(name, f"no such setting; there are {', '.join(_READERS)}"))
            continue
        if not text.strip() and name != PREFIX:
            continue
        try:
            settings = replace(settings, **{reader[0]: reader[1](text.strip())})
        except ValueError as error:
            problems.append(Problem(name, str(error)))
    return settings, problems


def _from_file(path: str, problems: list[Problem]) -> dict[str, str]:
    if not path:
        return {}
    name = f"{PREFIX}_CONFIG"
    try:
        document = _load_toml(Path(path).expanduser().read_text(encoding="utf-8"))
    except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: nobody's home folder
        problems.append(Problem(name, f"{path} cannot be read: {error}"))
        return {}
    values = {}
    for key, value in document.items():
        full = key if key.startswith(PREFIX) else f"{PREFIX}_{key.upper()}"
        full = PREFIX if full == f"{PREFIX}_STORE" else full
        if isinstance(value, list):
            value = ",".join(map(str, value))  # noqa: PLW2901 - one form for all
        values[full] = str(value).lower() if isinstance(value, bool) else str(value)
    return values


def _load_toml(text: str) -> dict[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib  # noqa: PLC0415 - only where a file is named
    else:
        import tomli as tomllib  # noqa: PLC0415
    document: dict[str, Any] = tomllib.loads(text)
    return document


def split_stores(text: str) -> tuple[str, ...]:
    """Read the value of `STEPAUDIO_CAS`: off, on, or a chain of stores, fastest first."""
    if text.lower() in OFF:
        return ()
    if text.lower() in _ON:
        return ("default",)
    stores = _joined([part for item in text.split(",") if (part := item.strip())])
    if not stores:
        raise ValueError("names no store; give a path or URL, or several with commas")
    return stores


def _joined(parts: Sequence[str]) -> tuple[str, ...]:
    """Put the further servers of a Redis cluster, `host:port` each, back to the first."""
    stores: list[str] = []
    for part in parts:
        if stores and _SEVERAL_HOSTS(stores[-1]) and _HOST_AND_PORT(part):
            stores[-1] += f",{part}"
        else:
            stores.append(part)
    return tuple(stores)


def _one_of(kind: type[Enum]) -> Callable[[str], Enum]:
    def read(text: str) -> Enum:
        try:
            return kind(text.lower())
        except ValueError:
            allowed = ", ".join(str(member.value) for member in kind)
            raise ValueError(f"{text!r} is not one of {allowed}") from None

    return read


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise ValueError(f"{text!r} is not a share between 0 and 1, such as 0.01")
    return share


def _names(text: str) -> tuple[str, ...]:
    return tuple(name for item in text.split(",") if (name := item.strip()))


def _folders(text: str) -> tuple[str, ...]:
    return () if text.lower() in OFF else _names(text)


def _positive_seconds(text: str) -> float:
    seconds = parse_seconds(text)
    if seconds <= 0:
        raise ValueError(f"{text!r} is not longer than nothing")
    return seconds


def _ttl(text: str) -> float | Lifetimes:
    found = parse_lifetimes(text)
    every = lifetimes(found)
    if any(
        seconds <= 0
        for seconds in (every.others, *dict(every.plugins).values())
        if seconds is not None
    ):
        raise ValueError(f"{text!r} is not longer than nothing")
    return found


def _deadline(text: str) -> float:
    seconds = _positive_seconds(text)
    if seconds > 86400:  # and what is much longer no clock can wait for
        raise ValueError(f"{text!r} is longer than a day")
    return seconds


def parse_address(text: str) -> str:
    """Read `host:port`; a port alone is one of this machine only. Port 0 is any that is free."""
    if text.lower() in OFF:
        return ""
    host, colon, port = text.rpartition(":")
    host = host if colon else "127.0.0.1"
    if not host.strip("[]") or not port.isdecimal() or int(port) > _LAST_PORT:
        raise ValueError(f"{text!r} is not host:port, such as 127.0.0.1:8765")
    return f"{host}:{int(port)}"


def _panel(text: str) -> str:
    if text.lower() in OFF:
        return ""
    if text.lower() in _ON:
        return "on"
    if text.lower() == "voices":
        return "voices"
    raise ValueError(f"{text!r} is not off, on, or voices")


def _prefetch(text: str) -> str | int:
    if text.lower() in OFF:
        return 0
    if text.lower() == "pins":
        return "pins"
    try:
        return parse_bytes(text)
    except ValueError:
        raise ValueError(f"{text!r} is not off, pins, or a size such as 2GB") from None


_READERS: Final[dict[str, tuple[str, Callable[[str], Any]]]] = {
    PREFIX: ("stores", split_stores),
    f"{PREFIX}_MEMORY": ("memory", parse_bytes),
    f"{PREFIX}_MODE": ("mode", _one_of(Mode)),
    f"{PREFIX}_MAX_SIZE": ("max_size", parse_bytes),
    f"{PREFIX}_TTL": ("ttl", _ttl),
    f"{PREFIX}_PLUGINS": ("plugins", _names),
    f"{PREFIX}_FINGERPRINT": ("fingerprint", _one_of(Strictness)),
    f"{PREFIX}_VERIFY": ("verify", _share),
    f"{PREFIX}_SIGNING_KEY_FILE": ("signing_key_file", str),
    f"{PREFIX}_LOG": ("log", _one_of(Level)),
    f"{PREFIX}_DEADLINE": ("deadline", _deadline),
    f"{PREFIX}_STATE": ("state", str),
    f"{PREFIX}_PREFETCH": ("prefetch", _prefetch),
    f"{PREFIX}_WATCH": ("watch", _folders),
    f"{PREFIX}_TUNE": ("tune", str),
    f"{PREFIX}_HTTP": ("http", parse_address),
    f"{PREFIX}_HTTP_TOKEN_FILE": ("http_token_file", str),
    f"{PREFIX}_PANEL": ("panel", _panel),
}
