"""Step-Audio and Step-Audio-EditX: what they compute from a reference recording.

The tokenizer class is in a module `tokenizer` of one package or another in every copy and fork;
its `wav2token` has the same signature everywhere.
"""

from __future__ import annotations

import os
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

_FUNASR_SETTINGS = (
    "model", "model_conf", "encoder", "encoder_conf", "frontend", "frontend_conf", "predictor_conf",
    "data_type", "fs",
)  # fmt: skip


def _tokenizer(self: Any) -> Model | None:
    """Describe the FunASR encoder, its k-means code book, and the ONNX speech tokenizer."""
    funasr = getattr(self, "funasr_model", None)
    session = getattr(self, "ort_session", None)
    kms = getattr(self, "kms", None)
    if funasr is None or session is None or kms is None:
        return None  # some forks load later
    return Model(
        loaded=(funasr, session, kms),
        parts=lambda: _tokenizer_parts(funasr, session, kms),
        settings={
            "chunk_size": self.chunk_size,
            "encoder_chunk_look_back": self.encoder_chunk_look_back,
            "decoder_chunk_look_back": self.decoder_chunk_look_back,
            "dither": _dither(funasr),
        },
    )


def _tokenizer_parts(funasr: Any, session: Any, kms: Any) -> Parts:
    kwargs = funasr.kwargs
    folder = getattr(funasr, "model_path", None) or kwargs.get("model_path") or ""
    frontend = kwargs.get("frontend")
    encoder = getattr(funasr.model, "encoder", None)
    return Parts(
        files={
            "encoder": kwargs.get("init_param"),
            "cmvn": (kwargs.get("frontend_conf") or {}).get("cmvn_file"),
            "config.yaml": _there(folder, "config.yaml"),
            "configuration.json": _there(folder, "configuration.json"),
            "speech_tokenizer": _onnx_file(session),
        },
        arrays={"k-means": kms},
        settings={name: _plain(kwargs[name]) for name in _FUNASR_SETTINGS if name in kwargs},
        code=[type(part) for part in (funasr, funasr.model, encoder, frontend) if part is not None],
    )


def _dither(funasr: Any) -> Any:
    return getattr(funasr.kwargs.get("frontend"), "dither", None)


def _plain(setting: Any) -> Any:
    """Copy a configuration: no paths, which differ between machines, and no live objects."""
    if isinstance(setting, dict):
        return {k: _plain(v) for k, v in setting.items() if k != "cmvn_file"}
    if isinstance(setting, (list, tuple)):
        return [_plain(item) for item in setting]
    if setting is None or isinstance(setting, (bool, int, float, str)):
        return setting
    return type(setting).__qualname__


def _there(folder: str, name: str) -> str | None:
    full = os.path.join(folder, name)
    return full if folder and os.path.isfile(full) else None


def _onnx_file(session: Any) -> str:
    """Return where a session was loaded from; a model from bytes has no file to tell it by."""
    found = getattr(session, "_model_path", None)
    if not found:
        raise LookupError("an ONNX session without a model file")
    return str(found)


def _embedding(self: Any) -> Model | None:
    """Describe the CAM++ speaker model."""
    session = getattr(self, "campplus_session", None)
    if session is None:
        return None
    return Model((session,), lambda: Parts(files={"campplus": _onnx_file(session)}))


def _mel(self: Any) -> Model:
    """Describe the mel spectrogram: nothing is loaded, everything is in its settings."""
    return Model((), Parts, {"mel_conf": dict(self.mel_conf), "sample_rate": self.sample_rate})


def _prompt(self: Any) -> Model | None:
    """Describe everything that a reference recording goes through."""
    frontend = getattr(getattr(self, "cosy_model", None), "frontend", None)
    tokenizer = _tokenizer(self.audio_tokenizer)
    embedding = _embedding(frontend) if frontend is not None else None
    if tokenizer is None or embedding is None:
        return None
    audio_tokenizer = self.audio_tokenizer

    def parts() -> Parts:
        of_tokens, of_voice = tokenizer.parts(), embedding.parts()
        return Parts(
            files={**of_tokens.files, **of_voice.files},
            arrays=of_tokens.arrays,
            settings=of_tokens.settings,
            code=[*of_tokens.code, type(frontend), type(audio_tokenizer)],
        )

    return Model(
        loaded=(*tokenizer.loaded, *embedding.loaded),
        parts=parts,
        settings={**tokenizer.settings, **_mel(frontend).settings},
    )


def _whisper(self: Any) -> Model | None:
    """Describe the transformers pipeline: its files if it is a folder, its commit if it is not."""
    pipeline = getattr(self, "model", None)
    if pipeline is None:
        return None
    return Model((pipeline,), lambda: _whisper_parts(pipeline))


def _whisper_parts(pipeline: Any) -> Parts:
    config = pipeline.model.config
    source = str(config._name_or_path)  # noqa: SLF001 - where transformers keeps it
    if os.path.isdir(source):
        names = sorted(os.listdir(source))
        kept = [n for n in names if n.endswith((".json", ".safetensors", ".bin", ".txt", ".model"))]
        return Parts(files={name: os.path.join(source, name) for name in kept})
    commit = getattr(config, "_commit_hash", None)
    if not commit:
        raise LookupError(f"{source} has neither a folder nor a commit")
    return Parts(settings={"id": source, "commit": commit})


plugin = Plugin(
    name="stepaudio",
    classes=(
        HostClass(
            name="StepAudioTokenizer",
            modules=("tokenizer",),
            owns=("wav2token", "get_vq02_code", "get_vq06_code", "merge_vq0206_to_token_str"),
            helpers=("resample_audio", "energy_norm_fn", "trim_silence"),
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
                ),
            ),
        ),
        HostClass(
            name="CosyVoiceFrontEnd",
            modules=("frontend",),
            owns=("extract_speech_feat", "extract_spk_embedding"),
            helpers=("mel_spectrogram",),
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
                ),
            ),
        ),
        HostClass(
            name="StepAudioTTS",
            modules=("tts",),
            owns=("preprocess_prompt_wav", "clone", "edit"),
            methods=(
                Method(
                    "preprocess_prompt_wav",
                    arguments={"prompt_wav_path": path()},
                    model=_prompt,
                    deterministic=False,
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
