"""What `STEPAUDIO_CAS_TUNE` may say: words with commas between them, such as `tf32,ort.intra=4`.

They are read before the host's first import, so little is imported for it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

NAME: Final = "STEPAUDIO_CAS_TUNE"
_FILE: Final = "STEPAUDIO_CAS_CONFIG"
_OFF: Final = ("", "0", "off", "false", "no")
PROVIDERS: Final = ("tensorrt", "cuda", "rocm", "migraphx", "openvino", "coreml", "cpu")
_MOST_THREADS: Final = 1024


def wanted(environment: Mapping[str, str] | None = None) -> tuple[dict[str, Any], list[str]]:
    """Return what the operator asks for, by word, and what is wrong with the rest."""
    environment = os.environ if environment is None else environment
    text = environment.get(NAME, "")
    if not text.strip() and environment.get(_FILE):
        from stepaudio_cas.settings import read_settings  # noqa: PLC0415 - rarely needed so early

        text = read_settings(environment)[0].tune
    return parse(text)


def parse(text: str) -> tuple[dict[str, Any], list[str]]:
    """Read the words. One that cannot be used is named, with what is allowed; the rest counts."""
    plan: dict[str, Any] = {}
    troubles: list[str] = []
    for item in () if text.strip().lower() in _OFF else text.split(","):
        name, equals, value = (part.strip() for part in item.partition("="))
        name = name.lower()
        if not name and not equals:
            continue
        reader = _READERS.get(name)
        if reader is None:
            troubles.append(f"{NAME}: no word {name!r}; there are {', '.join(WORDS)}")
        elif name in plan:
            troubles.append(f"{NAME}: {name} is there twice; {show({name: plan[name]})} counts")
        else:
            try:
                plan[name] = reader(value if equals else None)
            except ValueError as error:
                troubles.append(f"{NAME}: {name}{equals}{value} is not used: {error}")
    return plan, troubles


def show(plan: Mapping[str, Any], *only: str) -> str:
    """Write words as they would be set: all of a plan, or some."""
    return ",".join(
        name if value is True else f"{name}={':'.join(value) if type(value) is tuple else value}"
        for name, value in plan.items()
        if not only or name in only
    )


def _flag(value: str | None) -> bool:
    if value is not None:
        raise ValueError("it takes no value; leave the word out to have it off")
    return True


def _one_of(*allowed: str) -> Callable[[str | None], str]:
    def read(value: str | None) -> str:
        found = (value or "").lower()
        if found not in allowed:
            raise ValueError(f"it is one of {', '.join(allowed)}")
        return found

    return read


def _threads(value: str | None) -> int:
    try:
        number = int(value or "")
    except ValueError:
        number = 0
    if not 1 <= number <= _MOST_THREADS:
        raise ValueError(f"it is a number of threads, from 1 to {_MOST_THREADS}")
    return number


def _providers(value: str | None) -> tuple[str, ...]:
    names = tuple(name.strip().lower() for name in (value or "").split(":"))
    if set(names) - set(PROVIDERS) or len(set(names)) < len(names):
        raise ValueError(f"it is one or more of {', '.join(PROVIDERS)}, with colons, best first")
    return names


def _compilation(value: str | None) -> Any:
    modes = ("default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs")
    found = True if value is None else _one_of(*modes)(value)
    return True if found == "default" else found


def _text(value: str | None) -> str:
    if not value:
        raise ValueError("it needs a value")
    return value


_READERS: Final[dict[str, Callable[[str | None], Any]]] = {
    "tf32": _flag,
    "compile": _compilation,
    "encoder": _text,
    "ort.graph": _one_of("off", "basic", "extended", "all"),
    "ort.intra": _threads,
    "ort.inter": _threads,
    "ort.parallel": _flag,
    "ort.providers": _providers,
    "ort.engines": _text,
    "llm": _one_of("4bit", "8bit"),
    "attention": _one_of("eager", "sdpa", "flash_attention_2", "flex_attention"),
}

WORDS: Final = tuple(_READERS)
"""All words there are."""
