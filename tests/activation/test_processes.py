"""Children of a host, and other interpreters, share what one process has encoded."""

import os
import sys

import pytest

from tests.activation import hosts
from tests.activation.deployments import Environment, assert_cached, succeed

PYTHONS = [p for p in os.environ.get("STEPAUDIO_TEST_PYTHONS", "").split(":") if p]

POOL = """
import calls, multiprocessing
from tokenizer import StepAudioTokenizer
if __name__ == "__main__":
    {before}
    with multiprocessing.get_context({method!r}).Pool(2) as pool:
        calls.say(results=pool.map(work, range(4)))
"""
WORK = "def work(_):\n    return calls.encode(StepAudioTokenizer, 1)[0]\n"


@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
@pytest.mark.parametrize("before", ["", "calls.say(results=[work(0)])"])
def test_children_share_one_encode(host, method, before):
    pool = POOL.format(before=before or "pass", method=method)
    host.write("app.py", pool.replace("if __name__", WORK + "if __name__"))
    assert_cached(host, "app.py", calls=5 if before else 4)


def test_a_child_that_is_forked_while_others_encode_is_not_held_up(host):
    host.write(
        "app.py",
        """
import calls, os, threading
from tokenizer import StepAudioTokenizer
stop = threading.Event()
def work():
    number = 0
    while not stop.is_set():
        number += 1
        calls.encode(StepAudioTokenizer, 1, calls.AUDIO + number)
thread = threading.Thread(target=work)
thread.start()
codes = []
for _ in range(5):
    pid = os.fork()
    if not pid:
        calls.encode(StepAudioTokenizer)
        os._exit(0)
    codes.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
stop.set()
thread.join()
calls.say(codes=codes)
""",
    )
    assert host.run("app.py", STEPAUDIO_CAS_LOG="error").said[0]["codes"] == [0] * 5


PLUGIN = """
from stepaudio_cas.activation.plugin import (
    HostClass, Method, Model, Parts, Plugin, content, value
)
method = Method("encode", {"audio": content(), "rate": value()}, lambda self: Model((), Parts))
plugin = Plugin("mine", [HostClass("Encoder", ["encoder"], ["encode"], [method])])
"""

ENCODER = """
import os

class Encoder:
    def encode(self, audio, rate):
        with open(os.environ["HOST_ENCODES"], "a") as file:
            file.write("encode\\n")
        return list(os.urandom(16)), rate

    class Inner:
        '''Text that comes after the method.'''
"""

ENCODE = """
import json, sys, encoder
found = [encoder.Encoder().encode(b"audio", 16000) for _ in range(2)]
print(json.dumps({"results": found, "version": sys.version}))
"""


@pytest.mark.parametrize("python", [sys.executable, *PYTHONS])
def test_interpreters_share_a_store(host, wheel, tmp_path, python):
    other = Environment(tmp_path / "other", wheel, python=python)
    where = "import msgpack, os; print(os.path.dirname(os.path.dirname(msgpack.__file__)))"
    (other.packages / "needed.pth").write_text(succeed([python, "-c", where]))
    host.plugin("mine", PLUGIN)
    host.write("encoder.py", ENCODER)
    host.write("app.py", ENCODE)
    first = host.run("app.py")
    again = host.run("app.py", python=other.python)
    assert (first.encodes, again.encodes) == (1, 0), again.errors
    assert first.results == again.results


def test_another_user_of_the_store_with_another_model_gets_a_result_of_its_own(host):
    first = host.run("app.py")
    host.write("model/model.pt", "other weights")
    again = host.run("app.py")
    assert again.encodes == 1
    assert again.results[0] != first.results[0]
    host.write("model/model.pt", "weights")
    assert host.run("app.py").results == first.results


def test_nothing_is_lost_by_a_kill(host):
    host.write(
        "app.py",
        "import calls, os\nfrom tokenizer import StepAudioTokenizer\n"
        "calls.say(results=calls.encode(StepAudioTokenizer))\nos.kill(os.getpid(), 9)\n",
    )
    first = host.run("app.py", code=-9)
    host.write("app.py", hosts.APP)
    assert (first.encodes, host.run("app.py").results) == (1, first.results)


def test_readers_of_a_store_that_is_read_only_encode_only_what_it_lacks(host):
    first = host.run("app.py")
    assert host.run("app.py", STEPAUDIO_CAS_MODE="ro").results == first.results
    other = "calls.say(results=calls.encode(StepAudioTokenizer, 2, calls.AUDIO + 1))"
    host.write("app.py", hosts.APP + other)
    runs = [host.run("app.py", STEPAUDIO_CAS_MODE="ro") for _ in range(2)]
    assert [run.encodes for run in runs] == [1, 1]
    assert all(run.results[:2] == first.results for run in runs)
