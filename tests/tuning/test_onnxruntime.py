"""Sessions of the real onnxruntime, made as the plan says."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from stepaudio_cas_plugins.tuning_onnxruntime import patch_sessions

from stepaudio_cas.tuning.effects import EFFECTIVE, SKIPPED, UNCHANGED

CPU, AZURE, CUDA = (f"{name}ExecutionProvider" for name in ("CPU", "Azure", "CUDA"))
LEVELS = onnxruntime.GraphOptimizationLevel


@pytest.fixture
def tune(plan, effects, monkeypatch):
    """Have sessions made by a plan for one test."""
    kind = onnxruntime.InferenceSession
    namespace = {"InferenceSession": kind}
    monkeypatch.setattr(kind, "__init__", kind.__init__)

    def tune_(text):
        patch_sessions(namespace, plan(text))
        return namespace

    return tune_


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Two layers and what is between them, with sums that are long enough to be cut up."""
    rng = np.random.default_rng(1)
    sizes = {"first": (256, 512), "second": (512, 96), "scale": (96,), "bias": (96,)}
    weights = {n: rng.standard_normal(size).astype("float32") / 16 for n, size in sizes.items()}
    nodes = [
        helper.make_node("MatMul", ["x", "first"], ["a"]),
        helper.make_node("Softmax", ["a"], ["b"]),
        helper.make_node("MatMul", ["b", "second"], ["c"]),
        helper.make_node("LayerNormalization", ["c", "scale", "bias"], ["d"]),
        helper.make_node("ReduceSum", ["a"], ["e"]),
        helper.make_node("Add", ["d", "e"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 256])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path = tmp_path_factory.mktemp("onnx") / "speech.onnx"
    onnx.save(made, path)
    return str(path)


def answer(session):
    x = np.random.default_rng(2).standard_normal((300, 256)).astype("float32")
    return session.run(None, {"x": x})[0]


def test_the_options_are_those_of_the_plan_and_the_hosts_object_is_as_it_was(tune, model, states):
    tune("ort.graph=basic,ort.intra=3,ort.inter=2,ort.parallel")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=[CPU])
    made = session.get_session_options()
    assert made.graph_optimization_level == LEVELS.ORT_ENABLE_BASIC
    assert (made.intra_op_num_threads, made.inter_op_num_threads) == (3, 2)
    assert made.execution_mode == onnxruntime.ExecutionMode.ORT_PARALLEL
    assert options.graph_optimization_level == LEVELS.ORT_ENABLE_ALL
    assert options.intra_op_num_threads == 1
    words = {"ort.graph=basic", "ort.intra=3", "ort.inter=2", "ort.parallel"}
    assert states() == {(word, "speech.onnx"): (EFFECTIVE, "") for word in words}


def test_a_session_without_options_gets_them(tune, model):
    tune("ort.intra=3")
    session = onnxruntime.InferenceSession(path_or_bytes=model)
    assert session.get_session_options().intra_op_num_threads == 3


def test_what_may_change_results_is_said_by_the_session(tune, model, effects):
    tune("ort.graph=basic,ort.intra=3,ort.inter=2,ort.parallel")
    session = onnxruntime.InferenceSession(model)
    said = {"ort.graph": "basic", "ort.intra": 3}  # a convolution's sums are split among threads
    assert effects.of([session]) == {"0 InferenceSession": said}


@pytest.mark.parametrize("word", ["ort.graph=all", "ort.intra=3"])
def test_what_the_host_has_anyway_changes_nothing(tune, model, states, effects, word):
    tune(word)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 3
    session = onnxruntime.InferenceSession(model, options)
    assert effects.of([session]) == {}
    assert states()[word, "speech.onnx"] == (UNCHANGED, "the host has it so")


@pytest.mark.parametrize("level", ["off", "basic", "extended", "all"])
def test_parallel_execution_changes_no_bit_of_a_result(tune, model, level):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.graph_optimization_level = getattr(
        LEVELS, "ORT_DISABLE_ALL" if level == "off" else f"ORT_ENABLE_{level.upper()}"
    )
    alone = answer(onnxruntime.InferenceSession(model, options))
    tune("ort.inter=3,ort.parallel")
    assert (answer(onnxruntime.InferenceSession(model, options)) == alone).all()


def test_more_threads_between_nodes_count_only_in_parallel(tune, model, states):
    tune("ort.inter=2")
    session = onnxruntime.InferenceSession(model)
    assert session.get_session_options().inter_op_num_threads == 0
    state, why = states()["ort.inter=2", "speech.onnx"]
    assert (state, why) == (SKIPPED, "it counts only together with ort.parallel")


def test_providers_that_are_not_there_are_said_and_are_in_no_fingerprint(
    tune, model, states, effects
):
    tune("ort.providers=cuda:cpu")
    session = onnxruntime.InferenceSession(model, providers=[CPU])
    assert session.get_providers() == [CPU]
    assert effects.of([session]) == {}
    state, why = states()["ort.providers=cuda:cpu", "speech.onnx"]
    assert state == SKIPPED
    assert why == f"it runs on {CPU}; {CUDA} is not in this onnxruntime"


@pytest.mark.filterwarnings("ignore:Specified provider")
def test_a_provider_that_is_there_but_fails_is_said_and_is_in_no_fingerprint(
    tune, model, states, effects, monkeypatch
):
    """As with onnxruntime-gpu where there is no GPU."""
    there = onnxruntime.get_available_providers()
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA, *there])
    tune("ort.providers=cuda:cpu")
    session = onnxruntime.InferenceSession(model, providers=[CUDA])
    assert session.get_providers() == [CPU]
    assert effects.of([session]) == {}
    assert states()["ort.providers=cuda:cpu", "speech.onnx"] == (
        SKIPPED,
        f"it runs on {CPU}; {CUDA} is there but does not work here",
    )


def test_other_providers_than_the_hosts_are_in_the_fingerprint(tune, model, states, effects):
    if AZURE not in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has one provider only")
    tune("ort.providers=cpu")
    session = onnxruntime.InferenceSession(model, providers=[AZURE, CPU])
    assert session.get_providers() == [CPU]
    assert effects.of([session]) == {"0 InferenceSession": {"ort.providers": [CPU]}}
    assert states()["ort.providers=cpu", "speech.onnx"][0] == EFFECTIVE


def test_what_the_host_does_wrong_is_raised_as_without_us(tune, tmp_path, states):
    missing = str(tmp_path / "none.onnx")
    with pytest.raises(Exception) as plain:
        onnxruntime.InferenceSession(missing)
    tune("ort.intra=2,ort.providers=cpu")
    with pytest.raises(type(plain.value)) as tuned:
        onnxruntime.InferenceSession(missing)
    assert str(tuned.value) == str(plain.value)
    assert tuned.value.__context__ is plain.value.__context__ is None
    assert states() == {}
    with pytest.raises(TypeError):
        onnxruntime.InferenceSession()


def test_a_session_that_cannot_be_made_so_is_made_as_the_host_wants_it(
    tune, model, states, monkeypatch
):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["NoneSuch", CPU])
    monkeypatch.setattr("stepaudio_cas_plugins.tuning_onnxruntime._NAMES", {"cuda": "NoneSuch"})
    tune("ort.providers=cuda")
    session = onnxruntime.InferenceSession(model, providers=[CPU], enable_fallback=0)
    assert session.get_providers() == [CPU]
    (state, why) = states()["ort", "speech.onnx"]
    assert state == SKIPPED
    assert "NoneSuch" in why


def test_patching_twice_is_patching_once(tune, model):
    namespace = tune("ort.intra=2")
    once = vars(namespace["InferenceSession"])["__init__"]
    tune("ort.intra=3")
    assert vars(namespace["InferenceSession"])["__init__"] is once


def test_engines_of_tensorrt_are_kept_where_it_is_said(plan, tmp_path):
    from stepaudio_cas_plugins.tuning_onnxruntime import _engine_cache

    options = _engine_cache(plan(f"ort.providers=tensorrt,ort.engines={tmp_path}/engines"))
    assert options["trt_engine_cache_path"] == f"{tmp_path}/engines"
    assert (tmp_path / "engines").is_dir()
    assert _engine_cache({})["trt_engine_cache_path"].startswith(str(tmp_path / "xdg"))
