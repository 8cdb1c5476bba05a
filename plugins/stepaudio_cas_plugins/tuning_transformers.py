"""Language models of transformers: in 4 or 8 bit, and with another attention."""

from __future__ import annotations

import copy
import functools
import importlib.util
import os
import sys
from typing import TYPE_CHECKING, Any

from stepaudio_cas.tuning.effects import EFFECTIVE, SKIPPED, UNCHANGED, effects

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_TUNED = "__stepaudio_cas_tuned__"
_LANGUAGE_MODELS = ("ForCausalLM", "LMHeadModel")
_QUANTISED = ("quantization_config", "load_in_4bit", "load_in_8bit")


def patch_models(namespace: Mapping[str, Any], plan: Mapping[str, Any]) -> None:
    """Have language models that are loaded from now on loaded as the plan says."""
    kind = namespace.get("PreTrainedModel")
    loading = vars(kind).get("from_pretrained") if isinstance(kind, type) else None
    if not isinstance(loading, classmethod) or hasattr(loading.__func__, _TUNED):
        return
    original = loading.__func__

    @functools.wraps(original)
    def from_pretrained(cls: Any, /, *args: Any, **kwargs: Any) -> Any:
        if not cls.__name__.endswith(_LANGUAGE_MODELS):
            return original(cls, *args, **kwargs)
        source = str(args[0] if args else kwargs.get("pretrained_model_name_or_path", ""))
        thing = os.path.basename(source.rstrip("/")) or cls.__name__
        return _load(functools.partial(original, cls, *args), kwargs, plan, thing)

    setattr(from_pretrained, _TUNED, True)
    kind.from_pretrained = classmethod(from_pretrained)  # type: ignore[union-attr]


def _load(
    load: Callable[..., Any], kwargs: dict[str, Any], plan: Mapping[str, Any], thing: str
) -> Any:
    """Load with as much of the plan as is possible: all, else each part alone, else none."""
    parts: dict[str, dict[str, Any]] = {}
    for word, prepare in (("llm", _quantisation), ("attention", _attention)):
        if word in plan:
            added, state, why = prepare(kwargs, plan[word])
            if added:
                parts[word] = added
            else:
                effects.note(f"{word}={plan[word]}", thing, state, why)
    attempts = [tuple(parts), *((word,) for word in parts if len(parts) > 1)]
    failed: dict[tuple[str, ...], str] = {}
    for words in filter(None, attempts):
        added = {name: value for word in words for name, value in parts[word].items()}
        try:
            model = load(**{**_apart(kwargs), **added})
        except Exception as error:
            failed[words] = f"{type(error).__name__}: {error}"
            continue
        for word in parts:
            why = "" if word in words else failed.get((word,), "it failed beside the other")
            _report(model, word, plan[word], thing, why)
        return model
    model = load(**kwargs)
    for words, why in failed.items():
        for word in words:
            effects.note(f"{word}={plan[word]}", thing, SKIPPED, why)
    return model


def _apart(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Copy the configuration, which is written to: it has to be whole if this does not work."""
    config = kwargs.get("config")
    return {**kwargs, **({"config": copy.deepcopy(config)} if config is not None else {})}


def _quantisation(kwargs: Mapping[str, Any], bits: str) -> tuple[dict[str, Any], str, str]:
    transformers = sys.modules["transformers"]
    torch = sys.modules["torch"]
    if any(kwargs.get(name) for name in _QUANTISED):
        return {}, UNCHANGED, "the host quantises it itself"
    if getattr(kwargs.get("config"), "quantization_config", None) is not None:
        return {}, UNCHANGED, "it is quantised already"
    why = trouble("llm", {"llm": bits})
    if why:
        return {}, SKIPPED, why
    if bits == "8bit":
        made = transformers.BitsAndBytesConfig(load_in_8bit=True)
        return {"quantization_config": made}, "", ""
    dtype = kwargs.get("dtype", kwargs.get("torch_dtype"))
    if not isinstance(dtype, torch.dtype):
        dtype = torch.bfloat16 if torch.cuda.is_available() else torch.float32
    made = transformers.BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )
    return {"quantization_config": made}, "", ""


def _attention(kwargs: Mapping[str, Any], name: str) -> tuple[dict[str, Any], str, str]:
    if kwargs.get("attn_implementation") == name:
        return {}, UNCHANGED, "the host has it so"
    why = trouble("attention", {"attention": name})
    return ({}, SKIPPED, why) if why else ({"attn_implementation": name}, "", "")


def _report(model: Any, word: str, value: str, thing: str, why: str) -> None:
    if not why:
        found = _in_force(model, word)
        why = "" if found == value else f"it is {found or 'not so'} all the same"
    if not why:
        effects.mark([model], word, value)
    effects.note(f"{word}={value}", thing, SKIPPED if why else EFFECTIVE, why)


def _in_force(model: Any, word: str) -> str:
    if word == "attention":
        return str(getattr(model.config, "_attn_implementation", ""))
    four, eight = (getattr(model, f"is_loaded_in_{n}bit", False) for n in (4, 8))
    return "4bit" if four else "8bit" if eight else ""


def trouble(word: str, plan: Mapping[str, Any]) -> str:
    """Say why a word cannot be in force here, as far as that can be told without a model."""
    needed = ("bitsandbytes", "accelerate") if word == "llm" else ()
    if word == "attention" and plan[word] == "flash_attention_2":
        import torch  # noqa: PLC0415 - the host has it

        if not torch.cuda.is_available():
            return "there is no CUDA device"
        needed = ("flash_attn",)
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    return f"{', '.join(missing)} is not installed" if missing else ""
