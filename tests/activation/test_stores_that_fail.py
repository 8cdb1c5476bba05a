"""Whatever is wrong with the store, the host's results are the host's."""

import os

import pytest

from tests.activation import hosts
from tests.activation.deployments import assert_as_without

APP_OF_ANOTHER_VOICE = hosts.APP.replace("Tokenizer))", "Tokenizer, 2, calls.AUDIO + 1))")


@pytest.mark.parametrize(
    "store",
    ["nosuchscheme://x", "/dev/null", "/dev/null/below", "/proc/nowhere", ",", "file://h/x"],
)
def test_a_store_that_cannot_be(host, store):
    done = host.run("app.py", STEPAUDIO_CAS=store)
    assert len(done.results) == 2
    assert done.encodes in {1, 2}  # what was encoded may be in memory
    assert done.encodes == len({str(result) for result in done.results})
    assert done.lines


def test_a_store_deleted_while_running_is_made_again(host):
    host.write(
        "app.py",
        """
import calls, os
from tokenizer import StepAudioTokenizer
results = calls.encode(StepAudioTokenizer)
os.rename(os.environ["STEPAUDIO_CAS"], f"aside-{os.getpid()}")
other = calls.encode(StepAudioTokenizer, 2, calls.AUDIO + 1)
calls.say(results=results + other)
""",
    )
    first = host.run("app.py", STEPAUDIO_CAS_MEMORY="0")
    assert first.encodes == 2
    host.write("app.py", APP_OF_ANOTHER_VOICE)
    again = host.run("app.py")
    assert again.encodes == 0
    assert again.results == first.results[2:]


def test_a_store_replaced_by_a_file_while_running_costs_encodes_only(host):
    host.write(
        "app.py",
        """
import calls, os
from tokenizer import StepAudioTokenizer
calls.encode(StepAudioTokenizer)
os.rename(os.environ["STEPAUDIO_CAS"], f"aside-{os.getpid()}")
open(os.environ["STEPAUDIO_CAS"], "w").close()
calls.say(results=calls.encode(StepAudioTokenizer, 2, calls.AUDIO + 1))
""",
    )
    done = host.run("app.py", STEPAUDIO_CAS_MEMORY="0")
    assert done.encodes == 3
    assert len({str(result) for result in done.results}) == 2


def test_damaged_entries_are_encoded_again_and_mended(host):
    host.run("app.py")
    for folder, _, names in os.walk(host.store / "v1" / "objects"):
        for name in names:
            os.chmod(f"{folder}/{name}", 0o644)
            with open(f"{folder}/{name}", "r+b") as file:
                file.write(b"\xff")
    first = host.run("app.py")
    assert first.encodes == 1
    assert host.run("app.py").results == first.results


def test_exceptions_of_the_host_pass_through_once_and_are_not_kept(host):
    failing = "raise RuntimeError('too short')"
    host.write(
        "tokenizer.py", hosts.CLASS.replace("vq02 = self", failing + "\n        vq02 = self")
    )
    host.write(
        "app.py",
        """
import calls, traceback
from tokenizer import StepAudioTokenizer
for _ in range(2):
    try:
        calls.encode(StepAudioTokenizer, 1)
    except RuntimeError as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        text = [str(error), repr(error.__cause__), repr(error.__context__), last.name]
        calls.say(error=text)
""",
    )
    done = host.run("app.py")
    assert done.encodes == 2
    assert [one["error"] for one in done.said] == [["too short", "None", "None", "wav2token"]] * 2


def test_nothing_is_cached_without_a_description_of_the_model(host):
    (host.folder / "model" / "model.pt").unlink()
    assert assert_as_without(host, "app.py").errors.count("bypass") == 2
