"""SenseVoice on onnxruntime, as the package `funasr_onnx` has it: what it hears in a recording."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from stepaudio_cas.activation.plugin import (
    Bypass,
    HostClass,
    Items,
    Method,
    Model,
    Parts,
    Plugin,
    path,
    value,
)
from stepaudio_cas_plugins._parts import onnx_files

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_IGNORED = frozenset({"use_itn"})
"""Options of other versions of the model, which this class takes and does not look at."""


def _model(self: Any) -> Model | None:
    """Describe the session, and everything beside it that a recording goes through."""
    session = getattr(getattr(self, "ort_infer", None), "session", None)
    frontend, tokenizer = getattr(self, "frontend", None), getattr(self, "tokenizer", None)
    if session is None or frontend is None or tokenizer is None:
        return None
    frames = frontend.opts.frame_opts
    return Model(
        loaded=(session, frontend, tokenizer, *_statistics(frontend)),
        parts=lambda: _parts(self, session, frontend, tokenizer),
        settings={"dither": frames.dither, "fs": frames.samp_freq, "blank": self.blank_id},
        deterministic=frames.dither == 0,
    )


def _statistics(frontend: Any) -> tuple[Any, ...]:
    cmvn = getattr(frontend, "cmvn", None)
    return () if cmvn is None else (cmvn,)


def _parts(self: Any, session: Any, frontend: Any, tokenizer: Any) -> Parts:
    weights = onnx_files("model", session)
    cmvn = getattr(frontend, "cmvn", None)  # kept for its path by the host, whatever is there now
    return Parts(
        files={
            **weights,
            "config.yaml": _there(os.path.join(os.path.dirname(weights["model"]), "config.yaml")),
            "am.mvn": frontend.cmvn_file,
            "bpe": str(tokenizer.bpemodel),
        },
        arrays={} if cmvn is None else {"cmvn": cmvn},
        settings={"lfr": [frontend.lfr_m, frontend.lfr_n]},
        code=[type(frontend), type(tokenizer), type(self.ort_infer)],
    )


def _there(file: str) -> str | None:
    return file if os.path.isfile(file) else None


def _resolve(self: Any, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Say which language and text form a call comes to, as the numbers that the model is given."""
    options = dict(arguments["kwargs"])
    language = options.pop("language", "auto")
    languages, forms = self.read_tags(language, options.pop("textnorm", "woitn"))
    if len(languages) != 1 or len(forms) != 1:
        raise Bypass("unsupported-input", "several languages for one recording")
    further = {name: option for name, option in options.items() if name not in _IGNORED}
    return {
        **arguments,
        "wav_content": _recording(arguments["wav_content"]),
        "kwargs": {**further, "language": languages[0], "textnorm": forms[0]},
    }


def _recording(given: Any) -> Any:
    if isinstance(given, (list, tuple)):
        raise Bypass("unsupported-input", "a list of other things than names of files")
    if isinstance(given, os.PathLike):
        raise Bypass("unsupported-input", "a path that is no text: the host raises an error")
    if isinstance(given, str) and not given.lower().endswith(".wav"):
        raise Bypass("unsupported-input", "no .wav: the host writes one beside it, and reads that")
    return given


def _split(self: Any, arguments: Mapping[str, Any]) -> Sequence[Mapping[str, Any]] | None:
    """Take a list of files apart, each with its language and text form.

    The host pads a batch to its longest recording, and then hears other things. Here each is
    computed by itself. In lists, names are what they say: a name alone may be that of a file.
    """
    files = arguments["wav_content"]
    if type(files) is not list or not files or not all(type(file) is str for file in files):
        return None
    options = arguments["kwargs"]
    tags = options.get("language", "auto"), options.get("textnorm", "woitn")
    languages, forms = self.read_tags(*tags)
    if {len(languages), len(forms)} not in ({1}, {len(files)}):
        raise Bypass("unsupported-input", "not as many languages as text forms, or as files")
    language_names = {number: name for name, number in self.lid_dict.items()}
    form_names = {number: name for name, number in self.textnorm_dict.items()}
    return [
        {
            **arguments,
            "wav_content": file,
            "kwargs": {
                **options,
                "language": [language_names[languages[at % len(languages)]]],
                "textnorm": [form_names[forms[at % len(forms)]]],
            },
        }
        for at, file in enumerate(files)
    ]


plugin = Plugin(
    name="sensevoice",
    classes=(
        HostClass(
            name="SenseVoiceSmall",
            modules=("sensevoice_bin",),
            owns=("__call__", "read_tags", "load_data", "extract_feat", "infer"),
            methods=(
                Method(
                    "__call__",
                    arguments={"wav_content": path(), "kwargs": value()},
                    model=_model,
                    deterministic=False,  # unless its frontend does not dither
                    resolve=_resolve,
                    items=Items(_split),
                ),
            ),
        ),
    ),
)
