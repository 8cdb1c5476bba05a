"""ONNX Runtime: the options of sessions, the providers they run on, and which those really are."""

from __future__ import annotations

import contextlib
import functools
import inspect
import os
import sys
from typing import TYPE_CHECKING, Any

from stepaudio_cas.tuning.effects import EFFECTIVE, SKIPPED, UNCHANGED, effects
from stepaudio_cas.tuning.words import show

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_TUNED = "__stepaudio_cas_tuned__"
_NAMES = {
    "tensorrt": "TensorrtExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "rocm": "ROCMExecutionProvider",
    "migraphx": "MIGraphXExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "cpu": "CPUExecutionProvider",
}
_CPU = _NAMES["cpu"]
_LEVELS = {
    "off": "ORT_DISABLE_ALL",
    "basic": "ORT_ENABLE_BASIC",
    "extended": "ORT_ENABLE_EXTENDED",
    "all": "ORT_ENABLE_ALL",
}
_ALONE = "it counts only together with ort.parallel"


def patch_sessions(namespace: Mapping[str, Any], plan: Mapping[str, Any]) -> None:
    """Have every session that is made from now on made as the plan says."""
    kind = namespace.get("InferenceSession")
    if not isinstance(kind, type) or hasattr(vars(kind).get("__init__"), _TUNED):
        return
    original = vars(kind)["__init__"]
    signature = inspect.signature(original)

    @functools.wraps(original)
    def construct(self: Any, /, *args: Any, **kwargs: Any) -> None:
        making, why = None, ""
        try:
            making = _Making(signature.bind(self, *args, **kwargs).arguments, plan)
            with making.options():
                original(*making.arguments, **making.further)
        except Exception as error:  # perhaps the host's own mistake: then it is raised below
            why = f"{type(error).__name__}: {error}"
        if why:
            original(self, *args, **kwargs)
            effects.note("ort", making.thing if making else "a session", SKIPPED, why)
        elif making is not None:
            making.report(self)

    setattr(construct, _TUNED, True)
    kind.__init__ = construct  # type: ignore[misc]


class _Making:
    """One session as the host has asked for it, and as it is made."""

    def __init__(self, given: dict[str, Any], plan: Mapping[str, Any]) -> None:
        self._plan = plan
        self._runtime = sys.modules["onnxruntime"]
        given = dict(given)
        self.further = given.pop("kwargs", {})
        source = given["path_or_bytes"]
        self.thing = os.path.basename(os.fspath(source)) if not isinstance(source, bytes) else ""
        self._lock: Any = effects.lock
        if given.get("sess_options") is None:
            given["sess_options"] = self._runtime.SessionOptions()
            self._lock = contextlib.nullcontext()
        self._options = given["sess_options"]
        self._values = self._wanted_options()
        self._asked = _providers(given.get("providers"), given.get("provider_options"))
        if "ort.providers" in plan:
            chosen = self._choose()
            given["providers"], given["provider_options"] = list(chosen), list(chosen.values())
        self.arguments = [given.pop("self"), given.pop("path_or_bytes")]
        self.further = {**given, **self.further}
        self._graph_before = self._options.graph_optimization_level
        self._intra_before = self._options.intra_op_num_threads

    def _wanted_options(self) -> dict[str, Any]:
        plan, runtime = self._plan, self._runtime
        values: dict[str, Any] = {}
        if "ort.graph" in plan:
            level = getattr(runtime.GraphOptimizationLevel, _LEVELS[plan["ort.graph"]])
            values["graph_optimization_level"] = level
        if "ort.intra" in plan:
            values["intra_op_num_threads"] = plan["ort.intra"]
        if "ort.parallel" in plan:
            values["execution_mode"] = runtime.ExecutionMode.ORT_PARALLEL
            if "ort.inter" in plan:
                values["inter_op_num_threads"] = plan["ort.inter"]
        return values

    def _choose(self) -> dict[str, dict[str, Any]]:
        """Return the providers that this build has, with the host's options for those it named."""
        there = self._runtime.get_available_providers()
        chosen: dict[str, dict[str, Any]] = {}
        for word in self._plan["ort.providers"]:
            name = _NAMES[word]
            if name in there:
                own = _engine_cache(self._plan) if word == "tensorrt" else {}
                chosen[name] = {**own, **(self._asked or {}).get(name, {})}
        chosen.setdefault(_CPU, {})
        return chosen

    @contextlib.contextmanager
    def options(self) -> Iterator[None]:
        """Set the options while the session is made: the object is the host's."""
        with self._lock:
            before = {name: getattr(self._options, name) for name in self._values}
            try:
                for name, value in self._values.items():
                    setattr(self._options, name, value)
                yield
            finally:
                for name, value in before.items():
                    setattr(self._options, name, value)

    def report(self, session: Any) -> None:
        """Say what is in force, which only the session knows; what changes results is marked."""
        plan = self._plan
        if "ort.graph" in plan:
            same = self._values["graph_optimization_level"] == self._graph_before
            self._say("ort.graph", "the host has it so" if same else "")
            if not same:
                effects.mark([session], "ort.graph", plan["ort.graph"])
        if "ort.intra" in plan:  # with more threads, sums are split in another way
            same = plan["ort.intra"] == self._intra_before
            self._say("ort.intra", "the host has it so" if same else "")
            if not same:
                effects.mark([session], "ort.intra", plan["ort.intra"])
        if "ort.parallel" in plan:
            self._say("ort.parallel", "")
        if "ort.inter" in plan:
            alone = "ort.parallel" not in plan
            state, why = (SKIPPED, _ALONE) if alone else (EFFECTIVE, "")
            effects.note(show(plan, "ort.inter"), self.thing, state, why)
        if "ort.providers" in plan:
            self._report_providers(session)

    def _say(self, word: str, unchanged: str) -> None:
        state = UNCHANGED if unchanged else EFFECTIVE
        effects.note(show(self._plan, word), self.thing, state, unchanged)

    def _report_providers(self, session: Any) -> None:
        effective = list(session.get_providers())
        there = self._runtime.get_available_providers()
        wanted = [_NAMES[word] for word in self._plan["ort.providers"]]
        failed = [name for name in wanted if name in there and name not in effective]
        asked = self._asked
        host = [name for name in (asked if asked is not None else there) if name in there]
        host = [name for name in [*host, _CPU] if name not in failed]
        untuned = list(dict.fromkeys(host))
        word = show(self._plan, "ort.providers")
        lacks = [f"{name} is not in this onnxruntime" for name in wanted if name not in there]
        lacks += [f"{name} is there but does not work here" for name in failed]
        why = "; ".join([f"it runs on {', '.join(effective)}", *lacks])
        if effective == untuned:
            state = SKIPPED if lacks else UNCHANGED
        else:
            state = EFFECTIVE
            effects.mark([session], "ort.providers", effective)
        effects.note(word, self.thing, state, why)


def _providers(
    providers: Sequence[Any] | None, options: Sequence[Mapping[str, Any]] | None
) -> dict[str, dict[str, Any]] | None:
    """Return the providers that a host asks for, with its options; None if it leaves that open."""
    if not providers:
        return None
    found: dict[str, dict[str, Any]] = {}
    for number, provider in enumerate(providers):
        name, own = (provider, {}) if isinstance(provider, str) else provider
        found[name] = {**own, **(options[number] if options else {})}
    return found


def _engine_cache(plan: Mapping[str, Any]) -> dict[str, Any]:
    """Have TensorRT keep its engines, which take minutes to build."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    default = os.path.join(base, "stepaudio-cas", "engines")
    folder = os.path.expanduser(plan.get("ort.engines", default))
    os.makedirs(folder, mode=0o700, exist_ok=True)
    return {
        "trt_engine_cache_enable": True,
        "trt_engine_cache_path": folder,
        "trt_timing_cache_enable": True,
        "trt_timing_cache_path": folder,
    }


def trouble(word: str, plan: Mapping[str, Any]) -> str:
    """Say why a word cannot be in force here, as far as that can be told without a model."""
    import onnxruntime  # noqa: PLC0415 - asked for

    if word == "ort.inter" and "ort.parallel" not in plan:
        return _ALONE
    if word == "ort.engines" and "tensorrt" not in plan.get("ort.providers", ()):
        return "it counts only together with ort.providers=tensorrt"
    if word == "ort.providers":
        there = onnxruntime.get_available_providers()
        lacking = [_NAMES[name] for name in plan[word] if _NAMES[name] not in there]
        if lacking:
            return f"{', '.join(lacking)}: not in this onnxruntime, which has {', '.join(there)}"
    return ""
