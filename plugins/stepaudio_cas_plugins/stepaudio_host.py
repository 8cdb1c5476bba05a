"""Step-Audio hosts without their language model: what a voice goes through, and nothing else."""

from __future__ import annotations

import contextlib
import gc
import inspect
import os
import re
import sys
from importlib import import_module
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_TOKENIZER = re.compile(rb"^class StepAudioTokenizer\b", re.MULTILINE)
_LATE = ("_load_models", "load_tokenizer", "load_models")
_VOICES = ("Step-Audio-EditX", "Step-Audio-EditX-AWQ-4bit", "Step-Audio-TTS-3B")
_SKIPPED = {"__pycache__", "site-packages", "node_modules"}


def load(  # noqa: PLR0917 - called by name
    model: str,
    tokenizer: str = "",
    tts: str = "",
    funasr: str = "",
    package: str = "",
    ask: str = "",
) -> list[Callable[[str], object]]:
    """Load the tokenizer and, if its folder is there, the voice's part of StepAudioTTS.

    model      the folder that app.py is given, with Step-Audio-Tokenizer and Step-Audio-EditX (or
               -TTS-3B)
    tokenizer  the folder of the tokenizer, if it is another one
    tts        the folder with CosyVoice's, if it is another one
    funasr     the FunASR model inside the tokenizer's folder, if it is not the host's default
    package    where the module `tokenizer` is, if it is not found: some.package
    ask        what the host is asked for each voice: prompt (StepAudioTTS.preprocess_prompt_wav),
               tokens (wav2token of what the host's load_audio returns), text (the same without
               trimming), or several with commas; by default prompt, or tokens without CosyVoice
    """
    _without_cuda()
    folder = tokenizer or _first(model, "Step-Audio-Tokenizer") or model
    voice = tts or _first(model, *_VOICES) or model
    wanted = ask.split(",") if ask else ["prompt" if _has_cosyvoice(voice) else "tokens"]
    wrong = set(wanted) - {"prompt", "tokens", "text"}
    if wrong:
        raise ValueError(f"ask={','.join(sorted(wrong))}: there are prompt, tokens and text")
    package = package or _find_package(sys.path[0])
    made = _tokenizer(_module(package, "tokenizer"), folder, funasr)
    asks: list[Callable[[str], object]] = []
    for name in wanted:
        if name == "prompt":
            asks.append(_tts(_module(package, "tts"), voice, made).preprocess_prompt_wav)
        else:
            asks.append(_direct(made, _loading(package), name))
    return asks


def serve(  # noqa: PLR0917 - called by name
    model: str,
    text: str = "Good morning, and welcome to the early news.",
    prompt_text: str = "",
    tokenizer: str = "",
    tts: str = "",
    funasr: str = "",
    package: str = "",
) -> Callable[[str], object]:
    """Load the whole host, language model and vocoder too, as its server does.

    model        the folder that app.py is given
    text         what each request has said
    prompt_text  what is said in the recording
    tokenizer, tts, funasr, package  as for prewarm
    """
    _without_cuda()
    folder = tokenizer or _first(model, "Step-Audio-Tokenizer") or model
    package = package or _find_package(sys.path[0])
    made = _tokenizer(_module(package, "tokenizer"), folder, funasr)
    kind = _module(package, "tts").StepAudioTTS
    voice = tts or _first(model, *_VOICES) or model
    service = kind(voice, made, **_fitting(kind, {"model_source": "local"}))
    if not hasattr(service, "clone"):
        raise LookupError("this host's StepAudioTTS has no clone; see cas-tool bench --encode")
    return lambda path: service.clone(path, prompt_text, text)


def _direct(tokenizer: Any, load_audio: Callable[[str], Any], name: str) -> Callable[[str], object]:
    def tokens(path: str) -> object:
        audio, rate = load_audio(path)
        return tokenizer.wav2token(audio, rate)

    def text(path: str) -> object:
        return tokenizer(*load_audio(path))

    return tokens if name == "tokens" else text


def _tokenizer(module: Any, folder: str, funasr: str) -> Any:
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"{folder} is not a folder with the tokenizer's model")
    kind = module.StepAudioTokenizer
    named = {"funasr_model_id": funasr} if funasr else {}
    made = kind(folder, **_fitting(kind, {"model_source": "local"}), **named)
    for name in _LATE:  # some forks load at the first use
        if getattr(made, "funasr_model", None) is None and hasattr(made, name):
            getattr(made, name)()
    return made


def _tts(module: Any, folder: str, tokenizer: Any) -> Any:
    """Make StepAudioTTS by its own constructor, without what no recording goes through.

    Its vocoders are made with the frontends, which need their configuration, and then let go.
    """
    kind = module.StepAudioTTS
    with _no_language_model(), _no_graphs(module), _no_speakers(kind):
        made = kind(folder, tokenizer, **_fitting(kind, {"model_source": "local"}))
    for name, part in list(vars(made).items()):
        if hasattr(part, "frontend"):
            setattr(made, name, SimpleNamespace(frontend=part.frontend))
    _free_gpu()
    return made


def _fitting(kind: type, wanted: dict[str, Any]) -> dict[str, Any]:
    parameters = inspect.signature(kind).parameters
    return {name: value for name, value in wanted.items() if name in parameters}


@contextlib.contextmanager
def _no_language_model() -> Iterator[None]:
    """Have transformers load nothing, wherever in the host it is asked to."""
    try:
        import transformers  # noqa: PLC0415 - the host's
    except ImportError:
        yield
        return
    kinds = (
        transformers.AutoModelForCausalLM,
        transformers.AutoTokenizer,
        transformers.PreTrainedModel,
    )
    before = [(kind, vars(kind).get("from_pretrained")) for kind in kinds]
    for kind in kinds:
        kind.from_pretrained = classmethod(_stand_in)
    try:
        yield
    finally:
        for kind, own in before:
            if own is None:
                del kind.from_pretrained
            else:
                kind.from_pretrained = own


@contextlib.contextmanager
def _no_graphs(module: Any) -> Iterator[None]:
    """Have vocoders record no CUDA graphs, as older hosts do: it takes a GPU, and long."""
    kind = getattr(module, "CosyVoice", None)
    without = _fitting(kind, {"enable_cuda_graph": False}) if kind is not None else {}
    with _replaced(module, "CosyVoice", lambda *args: kind(*args, **without)):
        yield


@contextlib.contextmanager
def _no_speakers(kind: type) -> Iterator[None]:
    """Have Step-Audio not encode its own speakers, from the folder that it is started in."""
    with _replaced(kind, "register_speakers", lambda _: None):
        yield


@contextlib.contextmanager
def _replaced(thing: Any, name: str, by: Any) -> Iterator[None]:
    own = vars(thing).get(name)
    if own is None:
        yield
        return
    setattr(thing, name, by)
    try:
        yield
    finally:
        setattr(thing, name, own)


class _StandIn:
    """A language model that is never asked for anything but to be moved about."""

    def eval(self) -> _StandIn:
        return self

    def to(self, *_: Any, **__: Any) -> _StandIn:
        return self

    cuda = cpu = half = bfloat16 = to


def _stand_in(_: type, *__: Any, **___: Any) -> _StandIn:
    return _StandIn()


def _free_gpu() -> None:
    import torch  # noqa: PLC0415 - the host's

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _without_cuda() -> None:
    """Where there is no GPU, have the host's calls that name one mean the CPU."""
    import torch  # noqa: PLC0415 - the host's

    if torch.cuda.is_available():
        return
    torch.nn.Module.cuda = lambda self, *_, **__: self
    torch.Tensor.cuda = lambda self, *_, **__: self
    for kind in (torch.nn.Module, torch.Tensor):
        kind.to = _on_cpu(kind.to)


def _on_cpu(move: Callable[..., Any]) -> Callable[..., Any]:
    def to(self: Any, *args: Any, **kwargs: Any) -> Any:
        args = tuple("cpu" if _names_gpu(arg) else arg for arg in args)
        kwargs = {name: "cpu" if _names_gpu(arg) else arg for name, arg in kwargs.items()}
        return move(self, *args, **kwargs)

    return to


def _names_gpu(arg: Any) -> bool:
    kind = getattr(arg, "type", None) if not isinstance(arg, (str, int)) else None
    return type(arg) is int or kind == "cuda" or (isinstance(arg, str) and arg.startswith("cuda"))


def _loading(package: str) -> Callable[[str], Any]:
    """Return the host's own way to read a recording."""
    for name in ("utils", "audio", "tokenizer"):
        try:
            found = getattr(_module(package, name), "load_audio", None)
        except ImportError:
            continue
        if found is not None:
            return found  # type: ignore[no-any-return]
    raise LookupError("this host has no load_audio, so only ask=prompt can be asked of it")


def _module(package: str, name: str) -> Any:
    return import_module(f"{package}.{name}" if package else name)


def _find_package(root: str) -> str:
    """Find the package that the module `tokenizer` is in; the nearest one to the top."""
    found = []
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(n for n in folders if n not in _SKIPPED and not n.startswith("."))
        if "tokenizer.py" in files:
            with open(os.path.join(folder, "tokenizer.py"), "rb") as file:
                if _TOKENIZER.search(file.read()):
                    found.append(os.path.relpath(folder, root))
    if not found:
        raise LookupError(f"no tokenizer.py below {root} defines StepAudioTokenizer")
    nearest = min(found, key=lambda folder: (folder.count(os.sep), folder))
    return "" if nearest == "." else nearest.replace(os.sep, ".")


def _first(folder: str, *names: str) -> str:
    paths = (os.path.join(folder, name) for name in names)
    return next((path for path in paths if os.path.isdir(path)), "")


def _has_cosyvoice(folder: str) -> bool:
    return os.path.isdir(folder) and any("cosyvoice" in n.lower() for n in os.listdir(folder))
