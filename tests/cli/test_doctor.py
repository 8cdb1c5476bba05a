"""`cas-tool doctor` on real interpreters: each kind of wrongness is named, and is exit code 1."""

import json
import sys

import pytest

from stepaudio_cas.cli.checks import probe
from stepaudio_cas.cli.run import folders
from tests.cli.environments import HOST_CLASS, Environment, doctor, tool


@pytest.fixture
def environment(tmp_path):
    """An interpreter as pip leaves it, for one test to spoil."""
    return Environment(tmp_path / "v", importable=True, start_files=True)


def states(findings):
    return {name: finding["state"] for name, finding in findings.items()}


def test_a_good_set_up_is_exit_code_0(installed, tmp_path, host):
    store = tmp_path / "store"
    code, found = doctor("--python", installed.python, "--host", host, "--store", store)
    assert code == 0
    assert "wrong" not in states(found).values()
    assert set(found) >= {
        *("python.version", "activation.installed", "activation.start_file", "activation.on"),
        *("activation.off", "dependency", "plugin", "host.class", "setting.switch"),
        *("setting.mode", "setting.values", "store.write", "store.create", "store.lock"),
        *("store.speed", "store.space", "state"),
    }


def test_an_interpreter_without_us_is_told_how_to_install(bare):
    code, found = doctor("--python", bare.python)
    finding = found["activation.installed"]
    assert (code, finding["state"]) == (1, "wrong")
    assert finding["remedy"] == f"{bare.python} -m pip install stepaudio-cas"


def test_nothing_of_ours_is_carried_into_the_interpreter(bare, tmp_path):
    """Not even from the folder that doctor is run in."""
    (tmp_path / "stepaudio_cas").mkdir()
    (tmp_path / "stepaudio_cas" / "__init__.py").write_text("__version__ = '9'\n")
    code, found = doctor("--python", bare.python, cwd=tmp_path)
    assert (code, found["activation.installed"]["state"]) == (1, "wrong")


def test_what_is_only_on_the_path_starts_nothing(tmp_path):
    environment = Environment(tmp_path / "v", importable=True)
    code, found = doctor("--python", environment.python)
    assert code == 1
    assert states(found)["activation.start_file"] == states(found)["activation.on"] == "wrong"
    assert "cas-tool run" in found["activation.start_file"]["remedy"]


def test_a_start_file_that_fails_is_quoted(environment):
    environment.write("zzz_stepaudio_cas.pth", "import not_there_at_all\n")
    code, found = doctor("--python", environment.python)
    assert (code, found["activation.on"]["state"]) == (1, "wrong")
    assert "zzz_stepaudio_cas.pth" in found["activation.on"]["text"]


def test_an_interpreter_without_site_is_named():
    code, found = doctor(interpreter=[sys.executable, "-S"])
    assert (code, found["activation.site"]["state"]) == (1, "wrong")
    assert "runs with -S" in found["activation.site"]["text"]


def test_something_that_imports_us_with_the_variable_unset_is_named(environment):
    environment.write("sitecustomize.py", "import stepaudio_cas.settings\n")
    code, found = doctor("--python", environment.python)
    assert (code, found["activation.off"]["state"]) == (1, "wrong")


def test_a_variable_that_is_set_here_does_not_hide_that(environment):
    variables = {"STEPAUDIO_CAS": "off", "STEPAUDIO_CAS_CONFIG": "/nothing"}
    found = doctor("--python", environment.python, variables=variables)[1]
    assert states(found)["activation.on"] == states(found)["activation.off"] == "ok"


@pytest.mark.parametrize(
    ("text", "reason"),
    [("raise RuntimeError('broken')", "RuntimeError: broken"), ("plugin = 3", "not a Plugin")],
)
def test_a_plugin_that_does_not_load_is_named(environment, text, reason):
    environment.write("voices.py", text)
    entry = "[stepaudio_cas.plugins]\nvoices = voices:plugin\n"
    environment.write("voices-1.dist-info/entry_points.txt", entry)
    environment.write("voices-1.dist-info/METADATA", "Name: voices\nVersion: 1\n")
    done = tool("doctor", "--python", environment.python)
    assert done.returncode == 1
    line = next(line for line in done.stdout.splitlines() if "voices:plugin" in line)
    assert line.startswith("wrong   plugin: voices")
    assert reason in line


def test_an_allowed_plugin_that_is_not_installed_is_named(installed):
    variables = {"STEPAUDIO_CAS_PLUGINS": "stepaudio,nothing"}
    code, found = doctor("--python", installed.python, variables=variables)
    assert (code, found["plugin"]["subject"], found["plugin"]["state"]) == (1, "nothing", "wrong")


def test_a_plugin_that_is_left_out_is_not_looked_for(installed, host, tmp_path):
    variables = {"STEPAUDIO_CAS_PLUGINS": "other"}
    code, found = doctor("--python", installed.python, "--host", host, variables=variables)
    assert (code, found["host"]["state"]) == (1, "wrong")


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"blake3.py": "raise ImportError('no wheel')"}, "cannot be used: ImportError: no wheel"),
        (
            {"blake3-0.3.dist-info/METADATA": "Name: blake3\nVersion: 0.3\n"},
            "0.3 is too old: >=0.4",
        ),
    ],
    ids=["broken", "old"],
)
def test_a_dependency_that_does_not_do_is_named(tmp_path, files, reason):
    environment = Environment(tmp_path / "v", start_files=True)
    for name, text in files.items():
        environment.write(name, text)
    environment.write("aaa_paths.pth", "\n".join(folders()))
    done = tool("doctor", "--python", environment.python)
    assert done.returncode == 1
    assert f"wrong   dependency: blake3 {reason}" in done.stdout


def stand_in(path, seen):
    """Write something that answers like an interpreter in which the probe has seen this."""
    path.write_text(f"#!/bin/sh\ncat <<'END'\n{probe.MARK}{json.dumps(seen)}\nEND\n")
    path.chmod(0o755)
    return str(path)


def test_an_old_python_is_named(tmp_path):
    seen = {"executable": "/usr/bin/python3", "version": [3, 9, 18]}
    code, found = doctor("--python", stand_in(tmp_path / "python", seen))
    assert (code, found["python.version"]["state"]) == (1, "wrong")
    assert "Python 3.9.18; 3.10 or later" in found["python.version"]["text"]


def test_two_copies_that_watch_are_named(tmp_path, installed):
    (tmp_path / "python").write_text(
        f'#!/bin/sh\n{installed.python} "$@" | sed \'s/"finders": 1/"finders": 2/\'\n'
    )
    (tmp_path / "python").chmod(0o755)
    code, found = doctor("--python", tmp_path / "python")
    assert (code, found["activation.on"]["state"]) == (1, "wrong")


@pytest.mark.parametrize("what", ["/nothing/at/all", "/bin/false", "/"])
def test_what_is_no_interpreter_is_named(what):
    code, found = doctor("--python", what)
    assert (code, found["python.run"]["state"]) == (1, "wrong")


def test_json_has_stable_names(installed, tmp_path):
    done = tool("--json", "--store", f"redis://:secret@h/0,{tmp_path}", "doctor")
    document = json.loads(done.stdout)
    assert set(document) == {"state", "version", "python", "settings", "findings"}
    assert all(
        set(f) == {"name", "state", "text", "remedy", "subject"} for f in document["findings"]
    )
    assert {f["state"] for f in document["findings"]} <= {"ok", "warning", "wrong"}
    assert all(f["remedy"] for f in document["findings"] if f["state"] != "ok")
    assert document["settings"]["stores"][1] == str(tmp_path)
    assert "secret" not in done.stdout


def test_a_pipe_gets_one_plain_line_a_finding(bare):
    done = tool("doctor", "--python", bare.python)
    lines = done.stdout.splitlines()
    assert all(line.startswith(("ok      ", "warning ", "wrong   ")) for line in lines)
    assert "\x1b" not in done.stdout
    assert any("; remedy: " in line for line in lines)


def test_a_host_of_another_version_is_exit_code_1(installed, tmp_path):
    (tmp_path / "tokenizer.py").write_text(HOST_CLASS.replace("enable_trim", "trim"))
    code, found = doctor("--python", installed.python, "--host", tmp_path)
    assert code == 1
    assert "(audio, sample_rate, trim, energy_norm)" in found["host.class"]["text"]
