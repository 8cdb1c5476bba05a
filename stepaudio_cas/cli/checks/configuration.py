"""What is set, what of it cannot be used, and the mistakes that people make with it."""

from __future__ import annotations

import os
import stat
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from stepaudio_cas.artifact.signing import Signer
from stepaudio_cas.cli.checks.finding import Finding, ok, warning, without_secrets, wrong
from stepaudio_cas.errors import SettingError
from stepaudio_cas.settings import PREFIX, Mode, Settings
from stepaudio_cas.units import Lifetimes, show_bytes, show_seconds

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from stepaudio_cas.settings import Problem

_MODES: Final = {
    Mode.RW: "entries are read and written",
    Mode.RO: "entries are read; nothing is ever written",
    Mode.REFRESH: "entries are not read: everything is computed again, and written",
}


def effective(settings: Settings) -> dict[str, Any]:
    """Return what is in force, as JSON can say it."""
    values = asdict(settings)
    values["stores"] = [without_secrets(url) for url in settings.stores]
    return {name: getattr(value, "value", value) for name, value in values.items()}


def examine(
    settings: Settings, problems: Sequence[Problem], environment: Mapping[str, str]
) -> list[Finding]:
    """Judge the settings."""
    findings = [
        wrong("setting", str(p), f"give {p.name} another value, or remove it", subject=p.name)
        for p in problems
    ]
    findings += _switch(settings, environment)
    findings.append(ok("setting.values", f"in force: {_shown(settings)}"))
    findings += _relative(settings)
    if settings.signing_key_file is not None:
        findings.append(_signing_key(settings.signing_key_file))
    return findings


def _shown(settings: Settings) -> str:
    values = effective(settings)
    for name in ("memory", "max_size"):
        if values[name] is not None:
            values[name] = show_bytes(values[name])
    values["plugins"] = ", ".join(settings.plugins) if settings.plugins is not None else "all"
    del values["stores"]  # have their own lines
    values["watch"] = ", ".join(settings.watch)
    values["ttl"] = _times(settings.ttl)
    return ", ".join(f"{n} {'none' if v in {None, ''} else v}" for n, v in values.items())


def _times(ttl: float | Lifetimes | None) -> str:
    if not isinstance(ttl, Lifetimes):
        ttl = Lifetimes(ttl)
    times = [show_seconds(ttl.others)] if ttl.others is not None else []
    return ", ".join([*times, *(f"{name}={show_seconds(time)}" for name, time in ttl.plugins)])


def _switch(settings: Settings, environment: Mapping[str, str]) -> Iterator[Finding]:
    value = environment.get(PREFIX)
    name, stores = "setting.switch", ", ".join(map(without_secrets, settings.stores))
    if settings.stores and settings.mode is Mode.OFF:
        text = f"{PREFIX} names a store, but {PREFIX}_MODE is off: nothing is cached"
        yield wrong(name, text, f"remove {PREFIX}_MODE, or set it to rw")
    elif settings.stores:
        yield ok(name, f"{PREFIX} is on: {stores}")
        mode = _MODES[settings.mode]
        if settings.mode is Mode.REFRESH:
            remedy = f"remove {PREFIX}_MODE when everything has been computed anew"
            yield warning("setting.mode", f"{PREFIX}_MODE is refresh: {mode}", remedy)
        else:
            yield ok("setting.mode", f"{PREFIX}_MODE is {settings.mode.value}: {mode}")
    else:
        how = "not set" if value is None else f"{value!r}: off"
        remedy = f"set it where the host is started: {PREFIX}=1, or a path or URL"
        yield warning(name, f"{PREFIX} is {how}; nothing is cached", remedy)


def _relative(settings: Settings) -> Iterator[Finding]:
    for store in settings.stores:
        path = Path(store)
        if store == "default" or "://" in store or path.expanduser().is_absolute():
            continue
        text = f"{store} is a relative path: another store for every folder a host is started in"
        full = os.path.abspath(path)
        yield warning("setting.relative", text, f"write it in full: {full}", subject=store)


def _signing_key(path: str) -> Finding:
    name = "setting.signing_key"
    try:
        Signer.from_file(path)
        mode = os.stat(path).st_mode
    except (SettingError, OSError) as error:
        remedy = "give a file that the host can read, with a key such as openssl rand -hex 32 makes"
        return wrong(name, f"{error}; nothing is cached until this is mended", remedy)
    if mode & (stat.S_IROTH | stat.S_IWOTH):
        text = f"the signing key {path} is open to every user of this machine"
        return warning(name, text, f"chmod o-rw {path}")
    return ok(name, f"entries are signed with the key in {path}")
