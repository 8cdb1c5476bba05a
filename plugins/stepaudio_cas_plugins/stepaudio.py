"""Step-Audio and Step-Audio-EditX: what they compute from a reference recording.

The tokenizer class is in a module `tokenizer` of one package or another in every copy and fork;
its `wav2token` has the same signature everywhere.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from stepaudio_cas.activation.plugin import (
    HostClass,
    Method,
    Model,
    Parts,
    Plugin,
    content,
    path,
    value,
)
from stepaudio_cas_plugins._parts import beside, named, onnx_files

_FUNASR_SETTINGS = (
    "model", "model_conf", "encoder", "encoder_conf", "frontend", "frontend_conf", "predictor_conf",
)  # fmt: skip
_HELPERS = ("resample_audio", "energy_norm_fn", "trim_silence")
_MEL_HELPERS = ("mel_spectrogram",)
_WEIGHTS = (".safetensors", ".bin")


def _tokenizer(self: Any) -> Model | None:
    """Describe the FunASR encoder, its k-means code book, and the ONNX speech tokenizer."""
    funasr = getattr(self, "funasr_model", None)
    session = getattr(self, "ort_session", None)
    kms = getattr(self, "kms", None)
    if funasr is None or session is None or kms is None:
        return None  # some forks load later
    dither = getattr(funasr.kwargs.get("frontend"), "dither", None)
    return Model(
        loaded=(funasr, funasr.model, session, kms),
        parts=lambda: _tokenizer_parts(funasr, session, kms),
        settings={
            "chunk_size": self.chunk_size,
            "encoder_chunk_look_back": self.encoder_chunk_look_back,
            "decoder_chunk_look_back": self.decoder_chunk_look_back,
            "dither": dither,
            # What one call of FunASR sets, it leaves set for the next one.
            "fs": _plain(funasr.kwargs.get("fs")),
            "data_type": _plain(funasr.kwargs.get("data_type")),
            **_cast(funasr.model),
        },
        deterministic=dither == 0,
    )


def _cast(network: Any) -> dict[str, str]:
    """Tell the type that a network was cast to, as some forks do, where it is not the usual one."""
    weight = next(network.parameters(), None) if hasattr(network, "parameters") else None
    cast = "torch.float32" if weight is None else str(weight.dtype)
    return {"type": cast} if cast != "torch.float32" else {}


def _tokenizer_parts(funasr: Any, session: Any, kms: Any) -> Parts:
    kwargs = funasr.kwargs
    folder = str(getattr(funasr, "model_path", None) or kwargs.get("model_path") or "")
    weights = kwargs.get("init_param") or _there(folder, "model.pt")
    if not weights:
        raise LookupError("a FunASR model whose weights are in no file")
    encoder = getattr(funasr.model, "encoder", None)
    running = (funasr, funasr.model, encoder, kwargs.get("frontend"))
    return Parts(
        files={
            "encoder": str(weights),
            "cmvn": (kwargs.get("frontend_conf") or {}).get("cmvn_file"),
            "config.yaml": _there(folder, "config.yaml"),
            "configuration.json": _there(folder, "configuration.json"),
            **onnx_files("speech_tokenizer", session),
        },
        arrays={"k-means": kms},
        settings={name: _plain(kwargs[name]) for name in _FUNASR_SETTINGS if name in kwargs},
        code=[
            *[type(part) for part in running if part is not None],
            *named("whisper.audio", "log_mel_spectrogram"),
        ],
    )


def _plain(setting: Any) -> Any:
    """Copy a configuration: no paths, which differ between machines, and no live objects."""
    if isinstance(setting, Mapping):
        return {str(k): _plain(v) for k, v in setting.items() if k != "cmvn_file"}
    if isinstance(setting, Sequence) and not isinstance(setting, (str, bytes)):
        return [_plain(item) for item in setting]
    if setting is None or isinstance(setting, (bool, int, float, str)):
        return setting
    return type(setting).__qualname__


def _there(folder: str, name: str) -> str | None:
    full = os.path.join(folder, name)
    return full if folder and os.path.isfile(full) else None


def _encode(self: Any, recording: str) -> object:
    """Have a tokenizer that serves by itself encode what the host's own `load_audio` returns."""
    package = type(self).__module__.rpartition(".")[0]
    for name in ("utils", "audio", "tokenizer"):
        module = sys.modules.get(f"{package}.{name}" if package else name)
        load_audio = getattr(module, "load_audio", None)
        if load_audio is not None:
            audio, rate = load_audio(recording)
            return self.wav2token(audio, rate)
    raise LookupError("this host has no load_audio")


def _embedding(self: Any) -> Model | None:
    """Describe the CAM++ speaker model."""
    session = getattr(self, "campplus_session", None)
    if session is None:
        return None
    return Model((session,), lambda: Parts(files=onnx_files("campplus", session)))


def _mel(self: Any) -> Model:
    """Describe the mel spectrogram: nothing is loaded, everything is in its settings."""
    settings = {"mel_conf": dict(self.mel_conf), "sample_rate": self.sample_rate}
    return Model((), lambda: Parts(code=beside(self, *_MEL_HELPERS)), settings)


def _prompt(self: Any) -> Model | None:
    """Describe everything that a reference recording goes through."""
    frontend = getattr(getattr(self, "cosy_model", None), "frontend", None)
    audio_tokenizer = getattr(self, "audio_tokenizer", None)
    tokenizer = _tokenizer(audio_tokenizer) if audio_tokenizer is not None else None
    embedding = _embedding(frontend) if frontend is not None else None
    if tokenizer is None or embedding is None:
        return None
    further = getattr(frontend, "speech_tokenizer_session", None)  # of the first versions

    def parts() -> Parts:
        of_tokens, of_voice = tokenizer.parts(), embedding.parts()
        of_frontend = onnx_files("frontend", further) if further is not None else {}
        return Parts(
            files={**of_tokens.files, **of_voice.files, **of_frontend},
            arrays=of_tokens.arrays,
            settings=of_tokens.settings,
            code=[
                *of_tokens.code,
                *_with_helpers(frontend, _MEL_HELPERS),
                *_with_helpers(audio_tokenizer, _HELPERS),
            ],
        )

    return Model(
        loaded=(*tokenizer.loaded, *embedding.loaded, *([further] if further is not None else [])),
        parts=parts,
        settings={**tokenizer.settings, **_mel(frontend).settings},
        deterministic=tokenizer.deterministic,
    )


def _with_helpers(thing: Any, helpers: Sequence[str]) -> list[Any]:
    """Name the class of `thing`, and the functions that its module has from elsewhere."""
    kind = type(thing)
    module = sys.modules.get(kind.__module__)
    return [kind, *(getattr(module, name, None) for name in helpers)]


def _whisper(self: Any) -> Model | None:
    """Describe the transformers pipeline: its files if it is a folder, its commit if it is not."""
    pipeline = getattr(self, "model", None)
    if pipeline is None:
        return None
    network = pipeline.model
    return Model((pipeline, network), lambda: _whisper_parts(pipeline, network))


def _whisper_parts(pipeline: Any, network: Any) -> Parts:
    source = str(network.config._name_or_path)  # noqa: SLF001 - where transformers keeps it
    settings = {
        name: _plain(getattr(pipeline, name, None))
        for name in ("_preprocess_params", "_forward_params", "_postprocess_params")
    }
    settings["dtype"] = str(getattr(network, "dtype", ""))
    if os.path.isdir(source):
        names = sorted(os.listdir(source))
        if not any(name.endswith(_WEIGHTS) for name in names):
            raise LookupError(f"{source} has no weights")
        kept = [name for name in names if name.endswith((*_WEIGHTS, ".json", ".txt", ".model"))]
        files = {name: os.path.join(source, name) for name in kept}
        return Parts(files=files, settings=settings)
    commit = getattr(network.config, "_commit_hash", None)
    if not commit:
        raise LookupError(f"{source} has neither a folder nor a commit")
    return Parts(settings={**settings, "id": source, "commit": str(commit)})


plugin = Plugin(
    name="stepaudio",
    loader="stepaudio_cas_plugins.stepaudio_host:load",
    service="stepaudio_cas_plugins.stepaudio_host:serve",
    stages={
        "llm": ("llm:LanguageModel.generate", "generation.utils:GenerationMixin.generate"),
        "vocoder": (
            "cli.cosyvoice:CosyVoice.token2wav_nonstream",
            "cli.cosyvoice:CosyVoice.token_to_wav_offline",
            "vocoder:CosyVoice.token2wav",
        ),
    },
    classes=(
        HostClass(
            name="StepAudioTokenizer",
            modules=("tokenizer",),
            owns=("wav2token", "get_vq02_code", "get_vq06_code", "merge_vq0206_to_token_str"),
            helpers=_HELPERS,
            voice=_encode,
            methods=(
                Method(
                    "wav2token",
                    arguments={
                        "audio": content(),
                        "sample_rate": value(),
                        "enable_trim": value(),
                        "energy_norm": value(),
                    },
                    model=_tokenizer,
                    deterministic=False,  # the encoder's frontend dithers
                    results=3,
                    names=("speech_tokens", "vq02", "vq06"),
                ),
            ),
        ),
        HostClass(
            name="CosyVoiceFrontEnd",
            modules=("frontend",),
            owns=("extract_speech_feat", "extract_spk_embedding"),
            helpers=_MEL_HELPERS,
            methods=(
                Method(
                    "extract_spk_embedding",
                    arguments={"audio": content(), "audio_sr": value()},
                    model=_embedding,
                ),
                Method(
                    "extract_speech_feat",
                    arguments={"audio": content(), "audio_sr": value()},
                    model=_mel,
                    results=2,
                ),
            ),
        ),
        HostClass(
            name="StepAudioTTS",
            modules=("tts",),
            owns=("preprocess_prompt_wav", "clone", "edit"),
            lacks=("register_speakers",),  # Step-Audio's own, of whose parts each is cached
            voice=lambda self, recording: self.preprocess_prompt_wav(recording),
            requests=("clone", "edit"),
            methods=(
                Method(
                    "preprocess_prompt_wav",
                    arguments={"prompt_wav_path": path()},
                    model=_prompt,
                    deterministic=False,
                    composed=True,
                ),
            ),
        ),
        HostClass(
            name="WhisperWrapper",
            modules=("whisper_wrapper",),
            owns=("__call__",),
            methods=(
                Method(
                    "__call__",
                    arguments={"audio_input": path()},
                    model=_whisper,
                    keep=lambda text: text != "",  # what it returns after any failure
                ),
            ),
        ),
    ),
)
