"""ONNX files with random weights: a speech tokenizer and a speaker model."""

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper


def speech_tokenizer(path, seed=0, mels=128):
    """One token for four frames, as `feats` and `feats_length` have it in CosyVoice."""
    weights = np.random.default_rng(seed).normal(size=(mels, 64)).astype("float32")
    nodes = [
        helper.make_node("Transpose", ["feats"], ["frames"], perm=[0, 2, 1]),
        helper.make_node("Slice", ["frames", "from", "to", "axis", "step"], ["some"]),
        helper.make_node("MatMul", ["some", "weights"], ["scores"]),
        helper.make_node("ArgMax", ["scores"], ["tokens"], axis=2, keepdims=0),
        helper.make_node("Identity", ["feats_length"], ["length"]),
    ]
    fixed = {"from": [0], "to": [2**31], "axis": [1], "step": [4]}
    constants = [numpy_helper.from_array(np.array(v, "int64"), n) for n, v in fixed.items()]
    _save(
        path,
        nodes,
        [("feats", TensorProto.FLOAT, [1, mels, None]), ("feats_length", TensorProto.INT32, [1])],
        [("tokens", TensorProto.INT64, [1, None]), ("length", TensorProto.INT32, [1])],
        [*constants, numpy_helper.from_array(weights, "weights")],
    )


def campplus(path, seed=0):
    """One vector for all frames, as CAM++."""
    weights = np.random.default_rng(seed).normal(size=(80, 192)).astype("float32")
    nodes = [
        helper.make_node("MatMul", ["input", "weights"], ["hidden"]),
        helper.make_node("Tanh", ["hidden"], ["bent"]),
        helper.make_node("ReduceMean", ["bent"], ["output"], axes=[1], keepdims=0),
    ]
    _save(
        path,
        nodes,
        [("input", TensorProto.FLOAT, [1, None, 80])],
        [("output", TensorProto.FLOAT, [1, 192])],
        [numpy_helper.from_array(weights, "weights")],
    )


def _save(path, nodes, inputs, outputs, constants):
    made = [[helper.make_tensor_value_info(*value) for value in some] for some in (inputs, outputs)]
    graph = helper.make_graph(nodes, "small", *made, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    onnx.checker.check_model(model)
    onnx.save(model, path)


def session(path):
    """Load one as the hosts do, on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    providers = ["CPUExecutionProvider"]
    return onnxruntime.InferenceSession(str(path), sess_options=options, providers=providers)
