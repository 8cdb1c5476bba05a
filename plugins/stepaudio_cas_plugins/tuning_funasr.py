"""FunASR's encoder: another one in its place, and compiled.

The class is in a module `auto_model`, of FunASR itself or of a copy that a host has of it.
"""

from __future__ import annotations

import copy
import functools
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

from stepaudio_cas.tuning.effects import EFFECTIVE, MARK, SKIPPED, effects
from stepaudio_cas.tuning.words import show
from stepaudio_cas_plugins.tuning_torch import cannot_compile

_TUNED = "__stepaudio_cas_tuned__"
_OWNS = ("__init__", "build_model", "generate")
_ABOVE = 3
_LAYERS = ("encoders0", "encoders", "tp_encoders")
_WAYS = ("forward_chunk", "forward")
_VARIANTS = 64  # first layer and others; what they look back on is none, a part, or all


def patch_models(namespace: Mapping[str, Any], plan: Mapping[str, Any]) -> None:
    """Have models that are loaded from now on loaded as the plan says."""
    kind = namespace.get("AutoModel")
    if not isinstance(kind, type) or not all(name in vars(kind) for name in _OWNS):
        return
    original = vars(kind)["__init__"]
    if hasattr(original, _TUNED):
        return

    @functools.wraps(original)
    def construct(self: Any, /, *args: Any, **kwargs: Any) -> None:
        if "encoder" not in plan or not _with_encoder(original, self, args, kwargs, plan):
            original(self, *args, **kwargs)
        if "compile" in plan:
            _compile(self, plan["compile"], show(plan, "compile"))

    setattr(construct, _TUNED, True)
    kind.__init__ = construct  # type: ignore[misc]


def _with_encoder(
    original: Callable[..., None],
    model: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    plan: Mapping[str, Any],
) -> bool:
    """Load another encoder in place of the host's; return whether that was possible.

    Its files are in the fingerprint as those of the host's would be. One whose frames have other
    widths than the host's fits no code book, and every request would fail: it is not used.
    """
    word, own = show(plan, "encoder"), kwargs.get("model")
    thing = os.path.basename(str(own).rstrip("/"))
    if not isinstance(own, str):
        effects.note(word, thing, SKIPPED, "the host names no model")
        return False
    found = _find(plan["encoder"], own, kwargs.get("repo_path"))
    changed = {**kwargs, "model": found}
    if not os.path.isdir(found):
        changed.pop("model_revision", None)  # it is one of the host's own model
        if changed.get("model_hub") == "local":
            changed["model_hub"] = "ms"
    why = _misfit(_width(found), own)
    if not why:
        try:
            original(model, *args, **changed)
            why = _misfit(_width_of(model), own)
        except Exception as error:
            why = f"it cannot be loaded: {type(error).__name__}: {error}"
    if why:
        vars(model).clear()
        effects.note(word, thing, SKIPPED, f"{why}; the host's own encoder is used")
        return False
    if kwargs.get("repo_path"):
        model.repo_path = kwargs["repo_path"]  # where the host looks for its code book
    effects.note(word, thing, EFFECTIVE, "another encoder needs another code book: cas-tool tune")
    return True


def _find(wanted: str, own: str, root: str | None) -> str:
    """Find an encoder by its path, or beside the host's own; else it is an id for the hub."""
    wanted = os.path.expanduser(wanted)
    folders, above = [str(root)] if root else [], own
    for _ in range(_ABOVE):
        above = os.path.dirname(above)
        folders.append(above)
    places = [wanted] if os.path.isabs(wanted) else [os.path.join(f, wanted) for f in folders if f]
    return next((place for place in places if os.path.isdir(place)), wanted)


def _misfit(width: int | None, own: str) -> str:
    host = _width(own)
    if width is None or host is None or width == host:
        return ""
    return f"its frames are {width} wide and those of the host's {host}: no code book fits both"


def _width(folder: str) -> int | None:
    path = os.path.join(folder, "config.yaml")
    if not os.path.isfile(path):
        return None
    import yaml  # noqa: PLC0415 - FunASR has it

    with open(path, encoding="utf-8") as file:
        return _width_in(yaml.safe_load(file))


def _width_of(model: Any) -> int | None:
    return _width_in(getattr(model, "kwargs", None))


def _width_in(settings: Any) -> int | None:
    conf = settings.get("encoder_conf") if isinstance(settings, Mapping) else None
    width = conf.get("output_size") if isinstance(conf, Mapping) else None
    return width if type(width) is int else None


def _compile(model: Any, mode: Any, word: str) -> None:
    """Compile the layers of the encoder: all are alike, so that it is done once for each shape."""
    network = getattr(model, "model", None)
    encoder = getattr(network, "encoder", None)
    thing = type(encoder).__name__
    layers = [layer for name in _LAYERS for layer in getattr(encoder, name, None) or ()]
    if not layers:
        effects.note(word, thing, SKIPPED, "it has no layers that are known here")
        return
    why = cannot_compile(str(next(encoder.parameters()).device))
    if why:
        effects.note(word, thing, SKIPPED, why)
        return
    _allow_variants()
    things = [model, network]
    for marked in things:
        vars(marked)[MARK] = _Marks(vars(marked).get(MARK, {}))
    effects.mark(things, "compile", mode)
    giving_up = functools.partial(_give_up, things, word, thing)
    for layer in layers:
        for name in _WAYS:
            plain = getattr(layer, name, None)
            if callable(plain):
                vars(layer)[name] = _Compiled(plain, None if mode is True else mode, giving_up)
    effects.note(word, thing, EFFECTIVE, f"{len(layers)} layers")


def _allow_variants() -> None:
    """Have torch go on compiling: beyond its limit it runs as before, and does not say so."""
    config = getattr(sys.modules.get("torch._dynamo"), "config", None)
    for name in ("recompile_limit", "cache_size_limit"):  # the second is the older name
        if hasattr(config, name):
            setattr(config, name, max(getattr(config, name), _VARIANTS))
            return


def _give_up(things: list[Any], word: str, thing: str, why: str) -> None:
    effects.withdraw(things, "compile")
    effects.note(word, thing, SKIPPED, why)


class _Marks(dict[str, Any]):
    """What is in force for a model; a deep copy of it runs as it was written."""

    def __deepcopy__(self, memo: dict[int, Any]) -> dict[str, Any]:
        return {word: value for word, value in self.items() if word != "compile"}


class _Compiled:
    """A method of a layer, compiled when it is first called; or as it was, if that fails."""

    def __init__(
        self, plain: Callable[..., Any], mode: str | None, giving_up: Callable[[str], None]
    ) -> None:
        import torch  # noqa: PLC0415 - the host's

        self._plain, self._giving_up = plain, giving_up
        setattr(self, _TUNED, plain)  # the cache tells it by that, and by what was marked
        self._compiled: Callable[..., Any] | None = torch.compile(plain, mode=mode)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        compiled = self._compiled
        if compiled is None:
            return self._plain(*args, **kwargs)
        try:
            return compiled(*args, **kwargs)
        except Exception as error:
            why = f"{type(error).__name__}: {' '.join(str(error).split()):.200}"
        value = self._plain(*args, **kwargs)  # what it raises now is the host's own
        self._compiled = None
        self._giving_up(f"it failed at work, and runs as it was: {why}")
        return value

    def __deepcopy__(self, memo: dict[int, Any]) -> Callable[..., Any]:
        """Leave a copy of the layer as it was written: it computes with its own weights."""
        return copy.deepcopy(self._plain, memo)


def trouble(word: str, plan: Mapping[str, Any]) -> str:
    """Say why a word cannot be in force here, as far as that can be told without a model."""
    if word != "compile":
        return ""
    import torch  # noqa: PLC0415 - asked for

    del plan
    return cannot_compile("cuda" if torch.cuda.is_available() else "cpu")
