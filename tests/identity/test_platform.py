import json
import platform
import subprocess
import sys
import types

import pytest
import torch

from stepaudio_cas.identity.fingerprint import make_fingerprint
from stepaudio_cas.identity.platform import _precision, describe_platform
from tests.support.processes import REPOSITORY


def test_the_software_that_computes_is_described():
    found = describe_platform()
    assert found["torch"] == torch.__version__
    assert found["machine"] == platform.machine()
    assert found["default_dtype"] == "torch.float32"
    make_fingerprint(runtime=found)  # all of it has an exact form


@pytest.mark.parametrize("precision", ["highest", "high"])
def test_the_precision_of_float32_is_described(precision):
    torch.set_float32_matmul_precision("highest" if precision == "high" else "high")
    before = describe_platform()
    torch.set_float32_matmul_precision(precision)
    after = describe_platform()
    torch.set_float32_matmul_precision("highest")
    assert before != after


# In a process of its own: once torch has heard the newer names, the older ones raise.
NEWER = """
import torch, json
from stepaudio_cas.identity.platform import describe_platform
found = [describe_platform()]
torch.backends.cuda.matmul.fp32_precision = "tf32"
found.append(describe_platform())
torch.backends.cudnn.conv.fp32_precision = "ieee"
found.append(describe_platform())
print(json.dumps(found))
"""


def test_the_precision_may_be_set_by_its_newer_names():
    plain, matmul, conv = run(NEWER)
    assert plain != matmul
    assert matmul != conv


def test_an_older_torch_has_older_names():
    old = types.SimpleNamespace(
        cuda=types.SimpleNamespace(matmul=types.SimpleNamespace(allow_tf32=False)),
        cudnn=types.SimpleNamespace(allow_tf32=True),
    )
    assert _precision(old) == {"tf32_matmul": False, "tf32_cudnn": True}


def test_the_default_dtype_is_described():
    torch.set_default_dtype(torch.float64)
    try:
        assert describe_platform()["default_dtype"] == "torch.float64"
    finally:
        torch.set_default_dtype(torch.float32)


NOTHING = """
import json, sys
from stepaudio_cas.identity.platform import describe_platform
found = sorted(describe_platform())
print(json.dumps([found, sorted({"torch", "numpy", "scipy"} & sys.modules.keys())]))
"""


def test_nothing_is_imported_for_the_description():
    assert run(NOTHING) == [["machine"], []]


def run(program):
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)
