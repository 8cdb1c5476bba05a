"""Keys are the same in every process, with every hash seed, under every Python.

`STEPAUDIO_TEST_PYTHONS` names further interpreters (with colons between them) that have `blake3`,
`msgpack` and `fsspec`.
"""

import ast
import json
import multiprocessing
import os
import subprocess
import sys

import pytest

from tests.identity import golden
from tests.identity.examples import encoding
from tests.support.processes import REPOSITORY

PYTHONS = [p for p in os.environ.get("STEPAUDIO_TEST_PYTHONS", "").split(":") if p]


def elsewhere(python, **environment):
    done = subprocess.run(
        [python, "-m", "tests.identity.golden"],
        cwd=REPOSITORY,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout)


def test_keys_are_those_that_were_written_down():
    vectors = golden.load()
    assert golden.compute(vectors) == vectors


def test_what_was_written_down_is_what_the_format_document_says():
    vectors = golden.load()["canonical"]
    assert vectors == {text: encoding(ast.literal_eval(text)).hex() for text in vectors}


def test_no_two_vectors_are_alike():
    vectors = golden.load()
    keys = [one["key"] for one in vectors["keys"]]
    encodings = [*vectors["canonical"].values(), *vectors["without literal"].values()]
    assert len(set(keys)) == len(keys) > 5
    # Two NaNs are one value, and 1e999 is how a literal says infinity.
    assert len(set(encodings)) == len(encodings) - 2 > 30


@pytest.mark.parametrize("seed", ["0", "1", "424242"])
def test_keys_do_not_depend_on_the_hash_seed(seed):
    assert elsewhere(sys.executable, PYTHONHASHSEED=seed) == golden.load()


@pytest.mark.parametrize("flags", [{"PYTHONOPTIMIZE": "2"}, {"PYTHONUTF8": "0", "LC_ALL": "C"}])
def test_keys_do_not_depend_on_how_python_is_started(flags):
    assert elsewhere(sys.executable, **flags) == golden.load()


@pytest.mark.parametrize("python", [sys.executable, *PYTHONS])
def test_keys_do_not_depend_on_the_python(python):
    assert elsewhere(python, PYTHONHASHSEED="random") == golden.load()


def compute_into(pipe):
    pipe.send(golden.compute(golden.load()))


def test_keys_are_the_same_in_a_spawned_process():
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=compute_into, args=(sender,))
    process.start()
    sender.close()
    found = receiver.recv()
    process.join(60)
    assert found == golden.load()
