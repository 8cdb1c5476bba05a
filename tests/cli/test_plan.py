"""What `cas-tool run` is going to execute."""

import os
import sys

import pytest

from stepaudio_cas.cli.run import ON_PATH, RUNNER, folders, is_python, make_plan
from stepaudio_cas.errors import SettingError


def plan(*command, store=None, **variables):
    return make_plan(command, variables, store)


def test_the_store_is_the_default_one_if_none_is_named():
    assert plan("x").environment["STEPAUDIO_CAS"] == "1"


def test_what_the_environment_names_stays():
    assert plan("x", STEPAUDIO_CAS="/srv/a").environment["STEPAUDIO_CAS"] == "/srv/a"


def test_a_configuration_file_goes_on_naming_the_store():
    assert "STEPAUDIO_CAS" not in plan("x", STEPAUDIO_CAS_CONFIG="/etc/cas.toml").environment


def test_a_named_store_wins_and_means_the_same_in_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    found = plan("x", store="voices, ~/b,s3://c/d,1", STEPAUDIO_CAS="/e").environment
    assert found["STEPAUDIO_CAS"] == f"{tmp_path}/voices,/home/me/b,s3://c/d,{tmp_path}/1"
    assert plan("x", store="on").environment["STEPAUDIO_CAS"] == "1"
    assert plan("x", store="/srv/default").environment["STEPAUDIO_CAS"] == "/srv/default"


@pytest.mark.parametrize("value", ["off", "0", "", " OFF "])
def test_off_changes_nothing(value):
    command = ["python", "-S", "app.py"]
    found = plan(*command, STEPAUDIO_CAS=value, PYTHONPATH="/a")
    assert found.argv == command
    assert found.environment == {"STEPAUDIO_CAS": value, "PYTHONPATH": "/a"}


def test_a_store_that_is_none_is_wrong_usage():
    with pytest.raises(SettingError, match="names no store"):
        plan("x", store=",")


def test_a_value_that_cannot_be_used_is_left_to_the_host_to_report():
    assert plan("x", STEPAUDIO_CAS=",").environment["STEPAUDIO_CAS"] == ","


def test_children_find_us_before_what_was_on_the_path():
    assert plan("x").environment["PYTHONPATH"] == ON_PATH
    assert plan("x", PYTHONPATH="/a:/b").environment["PYTHONPATH"] == f"{ON_PATH}:/a:/b"


def test_nothing_but_a_sitecustomize_is_put_on_the_path():
    assert [name for name in os.listdir(ON_PATH) if name != "__pycache__"] == ["sitecustomize.py"]


def test_children_are_told_where_we_are_and_for_which_python():
    tag, *where = plan("x").environment["_STEPAUDIO_CAS_FOLDERS"].split(os.pathsep)
    assert tag == sys.implementation.cache_tag
    assert where == folders()
    assert any(os.path.isfile(f"{folder}/stepaudio_cas/cli/run.py") for folder in where)


@pytest.mark.parametrize("option", ["-S", "-I", "-E", "-uS", "-BIs"])
def test_an_interpreter_out_of_reach_is_given_the_runner(option):
    found = plan("/usr/bin/python3", option, "-Xdev", "app.py", "-S")
    assert found.argv == ["/usr/bin/python3", option, "-X", "dev", RUNNER, "app.py", "-S"]
    assert plan("python", option, "-m", "a", "b").argv[-4:] == [RUNNER, "-m", "a", "b"]


@pytest.mark.parametrize(
    "command",
    ["python app.py -S", "python -s -m a", "python -S", "python -S --version", "uvicorn -S -E"],
)
def test_every_other_command_is_left_as_it_is(command):
    assert plan(*command.split()).argv == command.split()


@pytest.mark.parametrize(
    "line",
    ["#!/usr/bin/python3 -I", "#!/usr/bin/env -S python3 -I", "#! /opt/v/bin/python3.12 -sS"],
)
def test_a_script_of_an_interpreter_out_of_reach_is_given_the_runner(tmp_path, line):
    script = tmp_path / "serve"
    script.write_text(f"{line}\n")
    script.chmod(0o755)
    found = plan(str(script), "-a").argv
    assert found[0].rpartition("/")[2].startswith("python3")
    assert found[1:] == [line.split()[-1], RUNNER, str(script), "-a"]


@pytest.mark.parametrize("line", [b"#!/usr/bin/python3\n", b"#!/bin/sh -E\n", b"\x7fELF\xff", b""])
def test_a_script_of_any_other_interpreter_is_left_as_it_is(tmp_path, line):
    script = tmp_path / "serve"
    script.write_bytes(line)
    script.chmod(0o755)
    assert plan(str(script)).argv == [str(script)]


def test_an_interpreter_is_known_by_its_name_or_what_it_links_to(tmp_path):
    (tmp_path / "python3.11").write_text("")
    (tmp_path / "voice").symlink_to("python3.11")
    known = [
        "python",
        "python3",
        "python3.14t",
        "/a/b/python3.10",
        "pypy3",
        str(tmp_path / "voice"),
    ]
    assert [is_python(word) for word in [*known, sys.executable]] == [True] * (len(known) + 1)
    assert not any(is_python(word) for word in ["uvicorn", "python-config", "ipython", "/bin/sh"])
