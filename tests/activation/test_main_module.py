"""Host classes that are in the script itself, which no finder ever sees."""

import pytest

from stepaudio_cas.activation.main_module import _classes_in, _main_of
from tests.activation import hosts
from tests.activation.deployments import assert_as_without, assert_cached

SPAWN = """
    import multiprocessing
    context = multiprocessing.get_context(METHOD)
    with context.Pool(1) as pool:
        calls.say(results=pool.apply(calls.encode, (StepAudioTokenizer,)))
"""


def test_a_class_in_the_script_is_cached(host):
    host.write("service.py", hosts.SCRIPT)
    first, _ = assert_cached(host, "service.py")
    assert "stepaudio: __main__.StepAudioTokenizer: wav2token cached in" in first.errors


def test_a_class_in_a_module_that_is_run_is_cached(host):
    host.write("service.py", hosts.SCRIPT)
    assert_cached(host, "-m", "service")


def test_a_class_in_the_main_module_of_a_package_is_cached(host):
    host.write("service/__init__.py", "")
    host.write("service/__main__.py", hosts.SCRIPT)
    assert_cached(host, "-m", "service")


def test_script_and_module_find_what_the_other_has_kept(host):
    host.write("service.py", hosts.SCRIPT)
    first = host.run("service.py")
    again = host.run("-m", "service")
    assert (first.encodes, again.encodes) == (1, 0)
    assert first.results == again.results


@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
def test_children_have_the_class_of_the_script_cached(host, method):
    host.write("service.py", hosts.SCRIPT + SPAWN.replace("METHOD", repr(method)))
    first = host.run("service.py")
    again = host.run("service.py")
    assert (first.encodes, again.encodes) == (1, 0), first.errors + again.errors
    assert first.results == again.results == [first.results[0]] * 4


def test_a_class_of_the_script_that_only_has_the_name_is_left_alone(host):
    text = hosts.SCRIPT.replace("merge_vq0206_to_token_str", "merge")
    host.write("service.py", text)
    assert assert_as_without(host, "service.py").lines == []


def test_what_follows_the_class_in_the_script_is_in_the_key(host):
    text = hosts.SCRIPT.replace("from utils import resample_audio", "")
    helper = "\ndef resample_audio(audio, rate, wanted):\n    return audio + {}\n"
    main = "\nif __name__"
    host.write("service.py", text.replace(main, helper.format(0) + main))
    first = host.run("service.py")
    host.write("service.py", text.replace(main, helper.format(1) + main))
    again = host.run("service.py")
    assert (first.encodes, again.encodes) == (1, 1)


def test_creating_classes_is_left_alone_where_no_host_class_is_defined(host):
    host.write(
        "plain.py",
        "import builtins, msgpack, calls\nclass Other: pass\n"
        "calls.say(build=repr(builtins.__build_class__))",
    )
    assert host.run("plain.py").said[0]["build"] == "<built-in function __build_class__>"


def test_creating_classes_is_left_alone_again_once_the_class_is_there(host):
    text = "import builtins; calls.say(build=repr(builtins.__build_class__))\n"
    host.write("service.py", hosts.SCRIPT + "    " + text)
    done = host.run("service.py")
    assert done.said[-1]["build"] == "<built-in function __build_class__>"
    assert done.encodes == 1


STARTED = {
    "app.py": ("script", "app.py"),
    "app.py -m other": ("script", "app.py"),
    "-u -X dev app.py": ("script", "app.py"),
    "-Xdev -Wignore app.py": ("script", "app.py"),
    "-W ignore app.py": ("script", "app.py"),
    "-uW ignore app.py": ("script", "app.py"),
    "-bbIEs -- app.py": ("script", "app.py"),
    "--check-hash-based-pycs never app.py": ("script", "app.py"),
    "-m app": ("module", "app"),
    "-mapp": ("module", "app"),
    "-m a.b -c x": ("module", "a.b"),
    "-uIm app": ("module", "app"),
    "-Imapp serve.py": ("module", "app"),
    "-c code app.py": ("", ""),
    "-ccode app.py": ("", ""),
    "-Ic code app.py": ("", ""),
    "- app.py": ("", ""),
    "-V": ("", ""),
    "-i": ("", ""),
    "-m": ("module", ""),
    "": ("", ""),
}


@pytest.mark.parametrize("words", STARTED)
def test_what_is_run_is_read_as_the_interpreter_reads_it(words):
    assert _main_of(words.split()) == STARTED[words]


def test_classes_are_found_wherever_they_are_defined(tmp_path):
    (tmp_path / "app.py").write_bytes(
        b"class A: pass\nclass B(A):\n  x = 1\n\n  class  C[T] (A):\n    pass\n"
        b"# a class D\nclassE = 1\nif x:\n\tclass F\\\n  (A): pass\n\xff\xfe\nclass G"
    )
    assert {"A", "B", "C", "G"} <= _classes_in(str(tmp_path / "app.py"))
    assert _classes_in(str(tmp_path / "app.py")).isdisjoint({"D", "E"})


@pytest.mark.parametrize("name", ["missing.py", "\0.py", "", "folder"])
def test_a_script_that_cannot_be_read_defines_nothing(tmp_path, monkeypatch, name):
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path)
    assert _classes_in(name) == set()


def test_a_folder_stands_for_its_main_module(tmp_path):
    (tmp_path / "__main__.py").write_text("class A: pass")
    assert _classes_in(str(tmp_path)) == {"A"}
