"""However a host is started, its voices are found cached."""

import pytest

from tests.activation import hosts
from tests.activation.deployments import Host, assert_as_without, assert_cached

INSERT = "import os, sys; sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))\n"


@pytest.fixture(params=["environment", "editable"])
def installed(request, tmp_path):
    return Host(tmp_path, request.getfixturevalue(request.param))


def test_a_script_finds_its_voices_cached(installed):
    first, again = assert_cached(installed, "app.py")
    assert "stepaudio: tokenizer.StepAudioTokenizer: wav2token cached in" in first.errors
    assert first.errors.count(" miss ") == 1
    assert first.errors.count(" hit memory ") == 1
    assert again.errors.count(" hit disk ") == 1


def test_a_module_finds_its_voices_cached(installed):
    assert_cached(installed, "-m", "app")


def test_a_package_finds_its_voices_cached(host):
    host.write("service/__init__.py", "")
    host.write("service/tokenizer.py", hosts.CLASS)
    host.write("service/__main__.py", hosts.APP.replace("from tok", "from .tok"))
    assert_cached(host, "-m", "service")


def test_a_folder_finds_its_voices_cached(host):
    host.write("service/tokenizer.py", hosts.CLASS)
    host.write("service/__main__.py", INSERT.replace("))\n", ") + '/..')\n") + hosts.APP)
    assert_cached(host, "service")


def test_code_on_the_command_line_finds_its_voices_cached(host):
    assert_cached(host, "-c", hosts.APP)


@pytest.mark.parametrize("flags", ["-I", "-E", "-s", "-IEs", "-u -X utf8 -W ignore"])
def test_flags_of_the_interpreter_change_nothing(host, flags):
    host.write("app.py", INSERT + hosts.APP)
    assert_cached(host, *flags.split(), "app.py")


def test_without_site_nothing_is_activated_and_nothing_breaks(host, environment):
    host.write(
        "app.py", f"import sys; sys.path.append({str(environment.packages)!r})\n" + hosts.APP
    )
    assert assert_as_without(host, "-S", "app.py").errors == ""


def test_a_result_is_what_the_host_makes_it(host):
    host.write(
        "app.py",
        """
import calls
from tokenizer import StepAudioTokenizer
results = calls.encode(StepAudioTokenizer)
results[1][0].append(1)
results += calls.encode(StepAudioTokenizer)
for result in results:
    assert type(result) is tuple, type(result)
    assert all(type(part) is list for part in result)
    assert all(type(code) is int for part in result for code in part)
calls.say(results=[results[0], results[2]])
""",
    )
    assert_cached(host, "app.py")
