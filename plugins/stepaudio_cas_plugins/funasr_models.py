"""FunASR's `AutoModel`: what SenseVoice, Paraformer and their like hear in a recording.

The class has the same name and parts in every fork (`funasr.auto.auto_model`,
`funasr_detach.auto.auto_model`). What an option does depends on the options of the call, on those
of the instance and, in older versions, on those of every call before it: all are resolved here.
"""

from __future__ import annotations

import copy
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from stepaudio_cas.activation.plugin import (
    Bypass,
    HostClass,
    Items,
    Method,
    Model,
    Parts,
    Plugin,
    digest,
    ignored,
    only,
    path,
    value,
)

_ROLES = ("", "vad_", "punc_", "spk_")
_LISTS = (".scp", ".txt", ".json", ".jsonl", ".text")
_HEADERLESS = (".ark", ".pcm", ".raw")
_SOUND = (None, "sound", "fbank")
_STREAMING = ("cache", "is_final")
_PLACES = frozenset(
    {
        *("check_latest", "config", "device", "disable_log", "disable_pbar", "disable_update"),
        *("hub", "init_param", "input_size", "is_training", "log_level", "model_path", "ncpu"),
        *("ngpu", "remote_code", "token_list", "trust_remote_code", "vocab_size"),
    }
)
"""What says where a model is and where it runs, or is told by the files it was made of."""

_BUILT = frozenset(
    {
        *("bf16", "decoder", "encoder", "fp16", "frontend", "model", "normalize", "predictor"),
        *("specaug", "tokenizer"),
    }
)
"""What a model was made with; only then does it count, as everything that ends in `_conf`."""

_FOLDERS = ("model_path", "output_dir")
_OF_ROLES = ("vad_kwargs", "punc_kwargs", "spk_kwargs")
_IS_FILE = re.compile(r"(init_param|_file|_path|token_list|bpemodel|seg_dict)s?(\.\d+)?$")
"""Options that name files, also where these are in the working directory."""


def _of(self: Any, role: str) -> Any:
    return getattr(self, f"{role}model", None)


def _options(self: Any, role: str) -> Mapping[str, Any]:
    """Return the options that the next call starts from: newer versions begin anew each time."""
    name = f"{role}kwargs"
    if _forgets(self):
        base = getattr(self, "_base_kwargs_map", None)
        if base and name in base:
            return base[name]  # type: ignore[no-any-return]
    return getattr(self, name, None) or {}


def _model(self: Any) -> Model | None:
    """Describe the model, and those for pauses, punctuation and speakers that come with it."""
    if _of(self, "") is None:
        return None
    roles = [role for role in _ROLES if _of(self, role) is not None]
    helpers = {f"{role}{name}": each for role in roles for name, each in _helpers(self, role)}
    if getattr(self, "cb_model", None) is not None:
        helpers["clusters"] = self.cb_model
    dithers = [getattr(_options(self, role).get("frontend"), "dither", 0.0) for role in roles]
    settings: dict[str, Any] = {"dither": dithers}
    if not _forgets(self):
        settings["built"] = {f"{role}model": _built(_options(self, role)) for role in roles}
    return Model(
        loaded=(*(_of(self, role) for role in roles), *helpers.values()),
        parts=lambda: _parts(self, roles),
        settings=settings,
        deterministic=not any(dithers),
        networks={**{f"{role}network": _of(self, role) for role in roles}, **helpers},
    )


def _helpers(self: Any, role: str) -> Iterator[tuple[str, Any]]:
    """Name what a model hears and writes with, of which there may be several."""
    for name in ("frontend", "tokenizer"):
        found = _options(self, role).get(name)
        several = found if isinstance(found, (list, tuple)) else [found]
        for number, each in enumerate(several):
            if each is not None and not isinstance(each, str):
                yield f"{name}{number or ''}", each


def _forgets(self: Any) -> bool:
    """Tell whether calls leave no options behind, as in newer versions."""
    return hasattr(self, "_reset_runtime_configs")


def _built(options: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: _plain(option, name)
        for name, option in options.items()
        if name in _BUILT or name.endswith("_conf")
    }


def _parts(self: Any, roles: Sequence[str]) -> Parts:
    files: dict[str, str | None] = {}
    settings: dict[str, Any] = {"funasr": _version(self)}
    code: list[Any] = []
    for role in roles:
        options, network = _options(self, role), _of(self, role)
        folder = str(options.get("model_path") or "")
        if not os.path.isfile(str(options.get("init_param") or "")):
            raise LookupError(f"{role}model: its weights are in no file")
        for name, file in _files_in(options):
            files[f"{role}{name}"] = file
        for name in ("config.yaml", "configuration.json"):
            file = os.path.join(folder, name)
            files[f"{role}{name}"] = file if os.path.isfile(file) else None
        settings[f"{role}model"] = _built(options)
        parts = [network, *network.children(), *(each for _, each in _helpers(self, role))]
        code += [type(part) for part in parts if not _is_torch(part)]
    return Parts(files=files, settings=settings, code=list(dict.fromkeys(code)))


def _version(self: Any) -> str:
    package = sys.modules.get(type(self).__module__.partition(".")[0])
    return str(getattr(package, "__version__", ""))


def _is_torch(part: Any) -> bool:
    return type(part).__module__.partition(".")[0] == "torch"


def _files_in(option: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Find the files that options name: weights, statistics, token lists, dictionaries."""
    option = os.fspath(option) if isinstance(option, os.PathLike) else option
    if isinstance(option, (list, tuple, Mapping)):
        inner = option.items() if isinstance(option, Mapping) else enumerate(option)
        for key, value_ in inner:
            is_list_of_tokens = key == "token_list" and not isinstance(value_, (str, os.PathLike))
            if not is_list_of_tokens and (name or key not in _OF_ROLES):
                yield from _files_in(value_, f"{name}.{key}" if name else str(key))
    elif _may_be_path(option, name):
        if os.path.isfile(option):
            yield name, option
        elif os.path.isdir(option) and not (name in _FOLDERS or name.endswith("model")):
            raise LookupError(f"{name} is a folder; what is in it cannot be told")


def _may_be_path(option: Any, name: str) -> bool:
    return isinstance(option, str) and (os.sep in option or bool(_IS_FILE.search(name)))


def _plain(option: Any, name: str) -> Any:
    """Copy a setting: no paths, which differ between machines, and no live objects."""
    option = os.fspath(option) if isinstance(option, os.PathLike) else option
    if isinstance(option, Mapping):
        return {str(key): _plain(inner, f"{name}.{key}") for key, inner in option.items()}
    if isinstance(option, str):
        return "" if _may_be_path(option, name) and os.path.exists(option) else option
    if isinstance(option, Sequence) and not isinstance(option, bytes):
        return [_plain(inner, f"{name}.{at}") for at, inner in enumerate(option)]
    if option is None or isinstance(option, (bool, int, float)):
        return option
    return type(option).__qualname__


def _merged(self: Any, role: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a call, put together as the host does: newer ones merge deeply."""
    merged = {
        name: copy.deepcopy(option) if isinstance(given.get(name), Mapping) else option
        for name, option in _options(self, role).items()
    }
    _merger(self)(merged, given)
    return merged


def _merger(self: Any) -> Callable[[dict[str, Any], Mapping[str, Any]], object]:
    deep = getattr(sys.modules[type(self).__module__], "deep_update", dict.update)
    return getattr(self, "_merge_runtime_config", deep)  # type: ignore[no-any-return]


def _resolve(self: Any, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Say what a call comes to, with all that it does not say itself."""
    given = arguments["cfg"]
    effective = {**_options(self, ""), **given}
    _refuse(given, effective)
    recording = _recording(arguments["input"])
    told: dict[str, Any] = {
        "as": "file" if isinstance(recording, str) else type(recording).__name__
    }
    for role in _ROLES:
        if _of(self, role) is not None:
            told[f"{role}model"] = _told(_merged(self, role, given), given)
    if _of(self, "vad_") is None and _of(self, "punc_") is None:
        told["model"] = _sense(_of(self, ""), told["model"])
    if _of(self, "spk_") is not None:
        told["spk_mode"] = getattr(self, "spk_mode", None)
    return {**arguments, "input": recording, "cfg": told}


def _refuse(given: Mapping[str, Any], effective: Mapping[str, Any]) -> None:
    for name in _STREAMING:
        if given.get(name) is not None:
            raise Bypass("streaming", f"{name}= is given: the call is one of several that belong"
                         " together")  # fmt: skip
    if effective.get("output_dir") is not None:
        raise Bypass("writes-files", "output_dir= is given")
    if given.get("key") is not None:
        raise Bypass("unsupported-option", "key= is given")
    kind = effective.get("data_type")
    if isinstance(kind, (list, tuple)) or kind not in _SOUND:
        raise Bypass("unsupported-input", f"data_type is {kind!r:.40}")


def _recording(given: Any) -> Any:
    """Return what is one recording, and understood."""
    if isinstance(given, str):
        if given.startswith(("http://", "https://")):
            raise Bypass("url", "what is there may be another thing tomorrow")
        ending = os.path.splitext(given)[1].lower()
        if ending in _LISTS:
            raise Bypass("file-list", f"a {ending} file names others")
        if ending in _HEADERLESS:
            raise Bypass("unsupported-input", f"a {ending} file does not say what it is")
    elif isinstance(given, (list, tuple)):
        raise Bypass("unsupported-input", "a list that is not one of recordings")
    return given


def _told(options: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that count in a call, files by their content."""
    return {
        name: _contents(name, option)
        for name, option in options.items()
        if name not in _PLACES
        and (
            name in given
            or not (name in {*_BUILT, *_OF_ROLES} or name.endswith(("_conf", "_model")))
        )
    }


def _contents(name: str, option: Any) -> Any:
    if isinstance(option, str):
        if option.startswith(("http://", "https://")):
            raise Bypass("url", f"{name} is fetched from somewhere")
        if os.path.isfile(option):
            with open(option, "rb") as file:
                content = digest(file.read())
            alone = option.endswith(".txt") or name.endswith("_file")  # else it may be the word
            return {"content": content} if alone else {"content": content, "word": option}
    if isinstance(option, Mapping):
        return {str(key): _contents(name, inner) for key, inner in option.items()}
    if isinstance(option, (list, tuple)):
        return [_contents(name, inner) for inner in option]
    return option


def _sense(network: Any, options: dict[str, Any]) -> dict[str, Any]:
    """Tell language and text form as SenseVoice understands them: many ways mean the same."""
    languages = getattr(network, "lid_dict", None)
    if type(network).__name__ != "SenseVoiceSmall" or not isinstance(languages, Mapping):
        return options
    rest = dict(options)
    language = rest.pop("language", "auto")
    itn, form = rest.pop("use_itn", False), rest.pop("text_norm", None)
    rest["language"] = languages.get(language, 0)
    rest["text_norm"] = form if form is not None else ("withitn" if itn else "woitn")
    return rest


def _split(self: Any, arguments: Mapping[str, Any]) -> Sequence[Mapping[str, Any]] | None:
    """Take a list of recordings apart."""
    given = arguments["input"]
    kind = {**_options(self, ""), **arguments["cfg"]}.get("data_type")
    if type(given) is not list or not given or kind not in (None, "sound"):
        return None
    if not all(isinstance(item, (str, bytes)) or hasattr(item, "dtype") for item in given):
        return None
    return [{**arguments, "input": item} for item in given]


def _some(arguments: Mapping[str, Any], positions: Sequence[int]) -> Mapping[str, Any]:
    return {**arguments, "input": [arguments["input"][at] for at in positions]}


def _is_whole(results: Any) -> bool:
    return type(results) is list and len(results) == 1 and type(results[0]) is dict


def _pack(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Leave out the name of the recording: under another one it is the same recording."""
    return [{**result, "key": ""} if "key" in result else result for result in results]


def _restore(
    self: Any, arguments: Mapping[str, Any], results: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Name the recordings, and leave behind the options that the call would have left."""
    given, cfg = arguments["input"], arguments["cfg"]
    host = sys.modules[type(self).__module__]
    named = given if isinstance(given, (str, list)) else None  # bytes would be decoded for it
    keys, _ = host.prepare_data_iterator(named)
    for result, key in zip(results, keys, strict=True):
        if "key" in result:
            result["key"] = key
    for role in _ROLES:
        if _of(self, role) is not None:
            if hasattr(_of(self, role), "vad_opts"):
                _leave_behind(_of(self, role).vad_opts, _merged(self, role, cfg))
            if not _forgets(self):
                _merger(self)(getattr(self, f"{role}kwargs"), cfg)
    return results


def _leave_behind(kept: Any, options: Mapping[str, Any]) -> None:
    """Set what a model for pauses goes on with after it was asked for that once."""
    silence = options.get("max_end_silence_time")
    if silence is not None and hasattr(kept, "max_end_silence_time"):
        kept.max_end_silence_time = silence


def _generate(**arguments: Any) -> Method:
    """Declare the method of one version."""
    return Method(
        "generate",
        arguments=arguments,
        model=_model,
        deterministic=False,  # unless no frontend dithers
        resolve=_resolve,
        items=Items(_split, _some),
        keep=_is_whole,
        pack=_pack,
        restore=_restore,
    )


plugin = Plugin(
    name="funasr",
    classes=(
        HostClass(
            name="AutoModel",
            modules=("auto_model",),
            owns=("build_model", "generate", "inference", "inference_with_vad", "export"),
            lacks=("infer_encoder",),  # that is the copy in Step-Audio, for its own plugin
            helpers=("prepare_data_iterator",),
            methods=(
                _generate(
                    input=path(), input_len=only(None), progress_callback=ignored(), cfg=value()
                ),
                _generate(input=path(), input_len=only(None), cfg=value()),
            ),
        ),
    ),
)
