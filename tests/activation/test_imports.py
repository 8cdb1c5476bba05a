"""Host modules are found however they are imported, and everything else is left as it is."""

import pytest

from tests.activation import hosts
from tests.activation.deployments import assert_as_without, assert_cached


@pytest.mark.parametrize(
    "package", ["x/coreeditx", "engines/a/b_impl", "Step_Audio_EditX", "space/deeper"]
)
def test_a_copy_in_a_package_is_cached_wherever_it_is(host, package):
    names = package.split("/")
    for depth in range(1, len(names) + 1):
        if "space" not in names:  # a namespace package has no file of its own
            host.write("/".join([*names[:depth], "__init__.py"]), "")
    (host.folder / "tokenizer.py").unlink()
    host.write(f"{package}/tokenizer.py", hosts.CLASS)
    host.write("app.py", hosts.APP.replace("from tokenizer", f"from {'.'.join(names)}.tokenizer"))
    assert_cached(host, "app.py")


def test_a_copy_keeps_and_finds_what_the_original_does(host):
    first = host.run("app.py")
    host.write("fork/tokenizer.py", hosts.CLASS)
    host.write("app.py", hosts.APP.replace("from tokenizer", "from fork.tokenizer"))
    assert host.run("app.py").results == first.results


LEFT_ALONE = {
    "another class of this name": hosts.CLASS.replace("merge_vq0206_to_token_str", "merge"),
    "another class with these methods": hosts.CLASS.replace(
        "class StepAudioTokenizer", "class Tokenizer"
    )
    + "StepAudioTokenizer = lambda folder: Tokenizer(folder)\n",
    "something that is not a class": "import calls\n\nStepAudioTokenizer = calls\n",
}


@pytest.mark.parametrize("kind", LEFT_ALONE)
def test_a_module_of_this_name_is_left_alone_that_has(host, kind):
    host.write("tokenizer.py", LEFT_ALONE[kind])
    if kind == "something that is not a class":
        host.write("app.py", "import tokenizer, calls\ncalls.say()")
        done = host.run("app.py")
    else:
        done = assert_as_without(host, "app.py")
    assert done.errors == ""
    assert not any(name.startswith("stepaudio_cas.runtime") for name in done.said[0]["ours"])


def test_an_unrelated_module_called_tokenizer_is_what_it_is_without_us(host):
    host.write("tokenizer.py", "def split(text): return text.split()\nLIMIT = 7\n")
    host.write(
        "app.py",
        """
import importlib.util, inspect, tokenizer, calls
spec = tokenizer.__spec__
calls.say(
    names=sorted(vars(tokenizer)),
    loader=[type(spec.loader).__name__, spec.loader is tokenizer.__loader__],
    spec=[spec.name, spec.origin, spec.cached, spec.has_location, tokenizer.__file__],
    source=inspect.getsource(tokenizer.split),
    data=len(spec.loader.get_data(tokenizer.__file__)),
    found=importlib.util.find_spec("tokenizer") is spec,
)
""",
    )
    said = [host.run("app.py", STEPAUDIO_CAS=store).said[0] for store in (None, "/nowhere")]
    assert [bool(one.pop("ours")) for one in said] == [False, True]
    assert said[0] == said[1]


def test_another_signature_is_refused_with_one_line_and_left_as_it_is(host):
    host.write("tokenizer.py", hosts.CLASS.replace("enable_trim=True, energy", "trim=True, energy"))
    done = assert_as_without(host, "app.py")
    assert len(done.lines) == 1
    assert done.lines[0].endswith(
        "tokenizer.StepAudioTokenizer.wav2token is left alone: its parameters are"
        " (audio, sample_rate, trim, energy_norm), this plugin knows"
        " (audio, sample_rate, enable_trim, energy_norm)"
    )


ALREADY = """
import calls, importlib, sys
{before}
from stepaudio_cas.activation import boot
boot.start()
{after}
boot.start()
from tokenizer import StepAudioTokenizer
calls.say(results=calls.encode(StepAudioTokenizer))
"""


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("import tokenizer", ""),
        ("", "import tokenizer"),
        ("import tokenizer", "importlib.reload(tokenizer)"),
        ("import tokenizer", "del sys.modules['tokenizer']"),
    ],
)
def test_a_late_start_finds_what_is_imported_already(host, before, after):
    host.environment["STEPAUDIO_CAS"] = ""
    started = f"import os; os.environ['STEPAUDIO_CAS'] = {str(host.store)!r}\n"
    host.write("app.py", started + ALREADY.format(before=before, after=after))
    assert_cached(host, "app.py")


def test_reloading_and_importing_anew_are_cached_and_counted_once(host):
    host.write(
        "app.py",
        """
import calls, importlib, sys, tokenizer
old = tokenizer.StepAudioTokenizer
results = calls.encode(old, 1)
assert importlib.reload(tokenizer) is tokenizer and tokenizer.StepAudioTokenizer is not old
results += calls.encode(tokenizer.StepAudioTokenizer, 1)
del sys.modules["tokenizer"]
import tokenizer as again
assert again is not tokenizer
results += calls.encode(again.StepAudioTokenizer, 1) + calls.encode(old, 1)
calls.say(results=results)
""",
    )
    first, _ = assert_cached(host, "app.py", calls=4)
    assert first.errors.count(" hit ") == 3


def test_a_module_that_raises_while_it_is_imported_raises_the_same_and_can_be_retried(host):
    host.write("tokenizer.py", "import os\nif not os.path.exists('mended'): 1 / 0\n" + hosts.CLASS)
    host.write(
        "app.py",
        """
import sys, traceback, calls
try:
    import tokenizer
except ZeroDivisionError as error:
    assert error.__cause__ is None and error.__context__ is None
    assert traceback.extract_tb(error.__traceback__)[-1].filename.endswith("tokenizer.py")
    assert "tokenizer" not in sys.modules
    open("mended", "w").close()
from tokenizer import StepAudioTokenizer
calls.say(results=calls.encode(StepAudioTokenizer))
""",
    )
    first, _ = assert_cached(host, "app.py")
    assert first.errors.count("stepaudio: tokenizer.StepAudioTokenizer: ") == 1


def test_a_host_in_a_zip_file_is_cached_and_its_loader_stays_its_own(host):
    host.write(
        "app.py",
        """
import sys, zipfile, calls
with zipfile.ZipFile("code.zip", "w") as archive:
    archive.write("tokenizer.py", "tokenizer.py")
    archive.writestr("other.py", "")
sys.path.insert(0, "code.zip")
import tokenizer, other, inspect
assert "code.zip" in tokenizer.__file__
assert type(tokenizer.__loader__).__name__ == "zipimporter" is not None
assert tokenizer.__loader__ is tokenizer.__spec__.loader
assert type(other.__loader__).__name__ == "zipimporter"
assert "exec_module" not in vars(tokenizer.__loader__)
assert "class StepAudioTokenizer" in inspect.getsource(tokenizer)
calls.say(results=calls.encode(tokenizer.StepAudioTokenizer))
""",
    )
    assert_cached(host, "app.py")


def test_a_lazily_loaded_host_stays_lazy_and_is_cached(host):
    host.write("tokenizer.py", "print('{\"loaded\": 1}')\n" + hosts.CLASS)
    host.write(
        "app.py",
        """
import importlib.util, sys, calls
spec = importlib.util.find_spec("tokenizer")
spec.loader = importlib.util.LazyLoader(spec.loader)
class Lazily:
    def find_spec(self, name, path=None, target=None):
        return spec if name == "tokenizer" else None
sys.meta_path.insert(1, Lazily())
import tokenizer
calls.say(before=True)
calls.say(results=calls.encode(tokenizer.StepAudioTokenizer))
""",
    )
    first, _ = assert_cached(host, "app.py")
    order = [name for one in first.said for name in one if name != "ours"]
    assert order == ["before", "loaded", "results"]


def test_a_finder_that_refuses_a_module_is_not_overruled_or_asked_for_others(host):
    host.write(
        "app.py",
        """
import sys, calls
class Refuse:
    asked = []
    def find_spec(self, name, path=None, target=None):
        self.asked.append(name)
        if name == "tokenizer":
            raise ImportError("not here")
sys.meta_path.insert(1, Refuse())
try:
    import tokenizer
except ImportError as error:
    calls.say(error=str(error))
import colorsys
assert Refuse.asked.count("colorsys") == 1
""",
    )
    done = host.run("app.py")
    assert done.said[0]["error"] == "not here"
    assert done.lines == []


def test_threads_that_import_the_host_at_once_have_it_cached_once(host):
    host.write(
        "app.py",
        """
import threading, calls
barrier, results = threading.Barrier(8), []
def work():
    barrier.wait()
    from tokenizer import StepAudioTokenizer
    import calls
    results.extend(calls.encode(StepAudioTokenizer, 1))
threads = [threading.Thread(target=work) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
calls.say(results=results)
""",
    )
    first, _ = assert_cached(host, "app.py", calls=8)
    assert first.errors.count("stepaudio: tokenizer.StepAudioTokenizer: ") == 1
