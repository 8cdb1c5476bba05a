"""`cas-tool run`: the host is cached where start-up files do not reach, and notices nothing."""

import os
import signal
import subprocess
import sys

import pytest

from stepaudio_cas.cli.run import ON_PATH
from tests.cli.environments import HOST_CLASS, PROGRAM, REPORT, finish, in_reach, tool

OPTIONS = [["-S"], ["-E"], ["-uS", "-W", "ignore", "-Xdev"], []]


@pytest.fixture
def run(tmp_path, host):
    """Run a command in the host's folder, and return exit code, output and errors."""

    def run_(*command, text=None, **options):
        stdin = subprocess.DEVNULL if text is None else subprocess.PIPE
        options = {"cwd": host, "stdin": stdin, **options}
        process = in_reach("--store", tmp_path / "store", "--", *command, **options)
        return finish(process, text)

    return run_


@pytest.mark.parametrize("options", OPTIONS, ids=" ".join)
def test_a_host_is_cached_whatever_its_interpreter_is_told(bare, run, options):
    code, output, errors = run(bare.python, *options, "app.py", "a", "-S", "--", "b")
    assert (code, output) == (0, "cached a -S -- b\n"), errors


def test_without_it_the_same_host_is_not_cached(bare, host):
    output = subprocess.check_output([bare.python, "-S", "app.py"], cwd=host, text=True)
    assert output == "not cached\n"


@pytest.mark.parametrize("program", ["own.py", "own_package", "-m own", "-m own_package"])
def test_a_host_class_in_the_script_itself_is_cached(bare, run, program):
    assert run(bare.python, "-S", *program.split(), "a")[:2] == (0, "cached a\n")


@pytest.mark.parametrize("program", ["own.py", "own_package"])
def test_a_host_class_in_an_isolated_script_is_cached(bare, run, program):
    assert run(bare.python, "-I", program, "a")[:2] == (0, "cached a\n")


@pytest.mark.parametrize("option", ["-S", "-B"])
def test_modules_and_code_and_standard_input_are_run_cached(bare, run, option):
    assert run(bare.python, option, "-m", "package", "a")[1] == "cached a\n"
    assert run(bare.python, option, "-c", PROGRAM, "a", "-m")[1] == "cached a -m\n"
    assert run(bare.python, option, "-", "a", text=PROGRAM)[1] == "cached a\n"


def test_a_console_script_is_cached(bare, run, host):
    script = bare.script("serve", f"import sys; sys.path.insert(0, {str(host)!r})\n{PROGRAM}")
    assert run(script, "a")[1] == "cached a\n"


def test_a_console_script_of_an_isolated_interpreter_is_cached(bare, run, host):
    text = f"import sys; sys.path.insert(0, {str(host)!r})\n{PROGRAM}"
    assert run(bare.script("isolated", text, options=" -I"), "a")[1] == "cached a\n"


def test_a_shell_script_and_its_children_are_cached(bare, run, host):
    (host / "start.sh").write_text(f"#!/bin/sh\ncd {host}\n{bare.python} app.py from sh\n")
    (host / "start.sh").chmod(0o755)
    assert run("./start.sh")[1] == "cached from sh\n"


@pytest.mark.parametrize("option", ["-S", "-B"])
def test_children_of_a_host_are_cached(bare, run, option):
    child = "import subprocess, sys; subprocess.run([sys.executable, 'app.py', 'child'])"
    assert run(bare.python, option, "-c", child)[1] == "cached child\n"


def test_a_host_with_start_files_is_watched_once(installed, run):
    count = "import sys; print(sum('stepaudio' in type(f).__module__ for f in sys.meta_path))"
    assert run(installed.python, "-c", count)[1] == "1\n"
    assert run(installed.python, "-E", "-c", count)[1] == "1\n"


def test_a_host_class_in_a_script_is_cached_where_start_files_came_first(installed, run):
    assert run(installed.python, "-E", "own.py")[1] == "cached\n"


def test_the_exit_code_is_the_commands(bare, run):
    assert run("sh", "-c", "exit 7")[0] == 7
    assert run(bare.python, "-S", "-c", "raise SystemExit(5)")[0] == 5
    assert run(bare.python, "-S", "-c", "1 / 0")[0] == 1
    assert run(bare.python, "-S", "not_there.py")[0] == 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda n: n.name)
@pytest.mark.parametrize("option", ["-S", "-B"])
def test_signals_reach_the_command(bare, tmp_path, number, option):
    waiting = "import signal; print('ready', flush=True); signal.pause()"
    process = in_reach(
        *("--store", tmp_path / "store", bare.python, option, "-c", waiting),
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),  # whoever runs the tests
    )
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    assert finish(process)[0] == -number


def test_the_command_takes_the_place_of_the_tool(tmp_path):
    process = in_reach("--store", tmp_path / "store", "sh", "-c", "echo $$")
    assert int(finish(process)[1]) == process.pid


def test_a_command_that_dies_of_a_closed_pipe_still_does(run):
    show = (
        "trap; cat /proc/self/status" if os.path.exists("/proc/self/status") else "echo SigIgn: 0"
    )
    output = run("sh", "-c", show)[1]
    ignored = next(line.split()[1] for line in output.splitlines() if line.startswith("SigIgn"))
    assert not int(ignored, 16) & 1 << (signal.SIGPIPE - 1)


def test_another_sitecustomize_runs_as_if_ours_were_not_there(bare, run, tmp_path):
    (tmp_path / "sitecustomize.py").write_text("print('theirs'); name = 'theirs'\n")
    text = f"import sys, sitecustomize; print(sitecustomize.name, {ON_PATH!r} in sys.path)"
    variables = {"PYTHONPATH": str(tmp_path)}
    assert run(bare.python, "-c", text, variables=variables)[1] == "theirs\ntheirs False\n"


def test_an_error_in_another_sitecustomize_is_reported_and_the_host_is_cached(bare, run, tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import not_there\n")
    code, output, errors = run(bare.python, "app.py", variables={"PYTHONPATH": str(tmp_path)})
    assert (code, output) == (0, "cached\n")
    assert "No module named 'not_there'" in errors


def test_a_host_that_switches_it_off_for_a_child_is_obeyed(bare, run):
    off = ["env", "STEPAUDIO_CAS=off"]
    assert run(*off, bare.python, "app.py")[1] == "not cached\n"


def test_an_interpreter_that_we_are_not_installed_for_runs_its_host_and_says_so(bare, run):
    other = ["env", "_STEPAUDIO_CAS_FOLDERS=cpython-39:/nowhere"]
    code, output, errors = run(*other, bare.python, "app.py")
    assert (code, output) == (0, "not cached\n")
    assert "cannot be activated: ImportError: it is installed for cpython-39, not here" in errors


def test_a_command_that_is_not_there_is_wrong_usage(tmp_path):
    code, output, errors = finish(in_reach("--", tmp_path / "nothing"))
    assert (code, output) == (2, "")
    assert errors == f"cas-tool: {tmp_path}/nothing cannot be run: No such file or directory\n"


def test_no_command_is_wrong_usage():
    done = tool("run", "--")
    assert (done.returncode, done.stdout) == (2, "")
    assert "cas-tool run -- python app.py" in done.stderr


@pytest.mark.parametrize("words", [["--", "echo", "a", "--", "b"], ["echo", "a", "--", "b"]])
def test_a_second_double_dash_belongs_to_the_command(words):
    assert finish(in_reach(*words))[1] == "a -- b\n"


def test_the_class_of_a_host_is_only_looked_for_below_main(bare, run, host):
    """A script that says `class` but means another one is left alone."""
    (host / "other.py").write_text(HOST_CLASS.replace("StepAudioTokenizer", "Other"))
    text = f"from other import Other as StepAudioTokenizer\n{REPORT}"
    assert run(bare.python, "-S", "-c", text)[1] == "not cached\n"


def test_this_interpreter_is_recognised_by_its_path_alone(run):
    assert run(sys.executable, "-c", "print(1)")[1] == "1\n"
