"""The runner: a program finds everything as the interpreter itself would have left it."""

import json
import os
import subprocess
import zipfile

import pytest

from stepaudio_cas.cli.run import folders
from tests.cli.environments import finish, in_reach

SHOW = """
import json, sys
main = sys.modules["__main__"]
names = {k: repr(v).split(" at 0x")[0] for k, v in vars(main).items() if k.startswith("__")}
print(json.dumps([sys.argv, sys.path, sys.warnoptions, list(sys.flags), __name__, names]))
"""
FAILING = "import os\ndef fail():\n    raise ValueError('no')\n\nfail()\n"


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    """The same program in every form in which Python runs one."""
    folder = tmp_path_factory.mktemp("programs")
    for name in ("show.py", "package/__init__.py", "package/show.py", "package/__main__.py"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("" if name.endswith("__init__.py") else SHOW)
    (folder / "deep").mkdir()
    (folder / "deep" / "link.py").symlink_to("../show.py")
    (folder / "fail.py").write_text(FAILING)
    (folder / "latin.py").write_bytes(b"# coding: latin-1\nprint(ascii('\xe9'), __file__)\n")
    (folder / "broken.py").write_text("if True\n")
    with zipfile.ZipFile(folder / "zipped.pyz", "w") as file:
        file.writestr("__main__.py", SHOW)
    return folder


def both(bare, folder, words, given=None):
    """Run a command without and with `cas-tool run`; return what `finish` says of each."""
    command = [bare.python, *words]
    options = {"cwd": folder, "stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    alone = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
    plain = subprocess.Popen(command, env=alone, stderr=subprocess.PIPE, text=True, **options)
    ours = in_reach("--store", folder / "store", "--", *command, **options)
    return finish(plain, given), finish(ours, given)


@pytest.mark.parametrize(
    "words",
    [
        "-S show.py a -b",
        "-I ./package/../show.py a",
        "-uSW ignore deep/link.py",
        "-SO -- show.py -- a",
        "-S -m package a",
        "-E -m package.show -c",
        "-S package a",
        "-I zipped.pyz a",
        "-S - a",
    ],
)
def test_a_program_sees_no_difference(bare, programs, words):
    text = SHOW if words.endswith("- a") else None
    plain, ours = both(bare, programs, words.split(), text)
    assert ours[::2] == plain[::2]
    seen, expected = json.loads(ours[1]), json.loads(plain[1])
    assert seen[1][: len(expected[1])] == expected[1]
    assert set(seen[1]) - set(expected[1]) <= set(folders())
    assert [*seen[:1], *seen[2:]] == [*expected[:1], *expected[2:]]


def test_code_sees_no_difference(bare, programs):
    plain, ours = both(bare, programs, ["-S", "-c", SHOW, "a", "-m"])
    seen, expected = json.loads(ours[1]), json.loads(plain[1])
    assert seen[1][: len(expected[1])] == expected[1]
    assert [*seen[:1], *seen[2:]] == [*expected[:1], *expected[2:]]


@pytest.mark.parametrize(
    "words", ["fail.py", "latin.py", "broken.py", "nothing.py", "-m nothing", "-m fail"]
)
def test_errors_and_encodings_are_the_interpreters_own(bare, programs, words):
    plain, ours = both(bare, programs, ["-S", *words.split()])
    assert ours == plain


def test_a_compiled_script_is_run(bare, programs):
    subprocess.check_call([bare.python, "-m", "compileall", "-qb", "show.py"], cwd=programs)
    plain, ours = both(bare, programs, ["-S", "show.pyc", "a"])
    assert json.loads(ours[1])[4:] == json.loads(plain[1])[4:]


def test_a_hook_for_uncaught_exceptions_gets_no_frame_of_ours(bare, programs):
    text = (
        "import sys, traceback\n"
        "def hook(kind, error, trace):\n"
        "    print([f.name for f in traceback.extract_tb(trace)], error.__traceback__ is trace)\n"
        "sys.excepthook = hook\n1 / 0\n"
    )
    plain, ours = both(bare, programs, ["-S", "-c", text])
    assert ours == plain
    assert ours[1] == "['<module>'] True\n"


def test_main_can_be_pickled_in_a_thread_that_outlives_the_script(bare, programs):
    text = (
        "import pickle, threading\n"
        "class Voice: pass\n"
        "def late():\n"
        "    threading.main_thread().join()\n"
        "    print(type(pickle.loads(pickle.dumps(Voice()))) is Voice)\n"
        "threading.Thread(target=late).start()\n"
    )
    assert both(bare, programs, ["-S", "-c", text])[1] == (0, "True\n", "")


def test_what_the_host_imports_comes_before_what_we_bring(bare, programs, tmp_path):
    (tmp_path / "msgpack.py").write_text("whose = 'theirs'\n")
    text = "import msgpack; print(msgpack.whose)"
    variables = {"PYTHONPATH": str(tmp_path)}
    words = ["--", bare.python, "-S", "-c", text]
    ours = in_reach("--store", tmp_path / "store", *words, variables=variables)
    assert finish(ours)[1] == "theirs\n"
