"""The finder finds nothing, disturbs nothing, and misses nothing."""

import importlib.util
import os
import sys
import threading
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

import pytest

from stepaudio_cas.activation import boot, finder, main_module, registry
from stepaudio_cas.activation.finder import Finder
from tests.support.processes import in_child, wait_until

PLUGIN = """
from stepaudio_cas.activation.plugin import HostClass, Method, Plugin
host = HostClass("Encoder", ["encoder_of_finder"], ["encode"], [])
plugin = Plugin("finding", [host])
"""


class Others:
    """Another finder, which notes what it is asked for, and makes modules by loaders of its own."""

    def __init__(self):
        self.asked = []
        self.loaders = {}

    def find_spec(self, name, path=None, target=None):
        self.asked.append(name)
        loader = self.loaders.get(name)
        return ModuleSpec(name, loader) if loader is not None else None


class Loader:
    def __init__(self, work=lambda module: None):
        self.work = work

    def create_module(self, spec):
        assert spec.loader is not None

    def exec_module(self, module):
        assert module.__loader__ is self
        assert module.__spec__.loader is self
        module.Encoder = type("Encoder", (), {"encode": None})
        self.work(module)


@pytest.fixture
def seen(monkeypatch):
    """The modules in which plugins have looked for host classes."""
    seen = []
    monkeypatch.setattr(
        registry.Registry, "apply", lambda self, names, module: seen.append((module, {**names}))
    )
    return seen


@pytest.fixture
def finding(tmp_path, monkeypatch, seen):
    """A finder in front, with one plugin, and another finder after it."""
    (tmp_path / "finding.py").write_text(PLUGIN)
    monkeypatch.setattr(registry, "entry_points", lambda troubles: {"finding": "finding:plugin"})
    monkeypatch.setattr(main_module, "_waiting", set())
    monkeypatch.syspath_prepend(str(tmp_path))
    made, others, before = Finder(), Others(), dict(sys.modules)
    monkeypatch.setattr(sys, "meta_path", [made, others, *sys.meta_path])
    yield made, others
    for name in sys.modules.keys() - before:
        del sys.modules[name]


def looked_into(seen, name):
    return [names for module, names in seen if module == name]


def write(folder, name, text="class Encoder:\n    encode = 1\n"):
    (folder / f"{name}.py").write_text(text)


def test_a_host_module_is_looked_into_once_it_is_complete(finding, tmp_path, seen):
    finding[0].discover()
    write(tmp_path, "encoder_of_finder")
    import encoder_of_finder

    [names] = looked_into(seen, "encoder_of_finder")
    assert names["Encoder"] is encoder_of_finder.Encoder


def test_other_finders_are_asked_once_for_what_concerns_nobody(finding, tmp_path):
    made, others = finding
    write(tmp_path, "trigger")
    write(tmp_path, "plain")
    import trigger

    assert trigger.Encoder
    del others.asked[:]
    import plain

    assert others.asked == ["plain"]
    assert "exec_module" not in vars(plain.__loader__)
    assert made.find_spec("plain") is None


def test_only_finders_after_ours_are_asked(finding, tmp_path):
    _, others = finding
    write(tmp_path, "encoder_of_finder")
    sys.meta_path.remove(others)
    sys.meta_path.insert(0, others)
    import encoder_of_finder

    assert others.asked.count("encoder_of_finder") == 1
    assert encoder_of_finder.__spec__.origin == str(tmp_path / "encoder_of_finder.py")


def test_a_finder_that_is_no_longer_on_the_path_finds_nothing(finding, tmp_path):
    made, _ = finding
    write(tmp_path, "encoder_of_finder")
    sys.meta_path.remove(made)
    assert made.find_spec("encoder_of_finder") is None


def test_a_loader_that_others_share_is_not_touched(finding, seen):
    made, others = finding
    made.discover()
    loader = Loader()
    others.loaders |= {"encoder_of_finder": loader, "shared_with": loader}
    import encoder_of_finder
    import shared_with

    assert encoder_of_finder.__loader__ is encoder_of_finder.__spec__.loader is loader
    assert vars(loader).keys() == {"work"}
    assert len(looked_into(seen, "encoder_of_finder")) == 1
    assert not looked_into(seen, "shared_with")
    assert shared_with.__loader__ is loader


def test_a_spec_that_is_only_asked_for_still_gives_what_its_loader_has(finding):
    _, others = finding
    others.loaders["encoder_of_finder"] = Loader()
    spec = importlib.util.find_spec("encoder_of_finder")
    assert callable(spec.loader.work)
    with pytest.raises(AttributeError, match="'Loader' object has no attribute 'nothing'"):
        spec.loader.nothing  # noqa: B018


def test_a_loader_of_the_old_kind_is_said_and_left_alone(finding, capfd):
    made, others = finding
    made.discover()

    class Old:
        def load_module(self, name):
            return sys.modules.setdefault(name, ModuleType(name))

    others.loaders["encoder_of_finder"] = Old()
    assert type(importlib.util.find_spec("encoder_of_finder").loader) is Old
    assert "is loaded by a Old, which cannot be watched" in capfd.readouterr().err


def test_what_a_module_raises_is_not_ours_to_see(finding, seen):
    _, others = finding

    def fail(module):
        raise KeyError("of the module")

    others.loaders["encoder_of_finder"] = Loader(fail)
    with pytest.raises(KeyError, match="of the module"):
        import encoder_of_finder  # noqa: F401
    assert "encoder_of_finder" not in sys.modules
    assert not looked_into(seen, "encoder_of_finder")


def test_a_failure_of_ours_is_said_and_the_module_is_imported(finding, monkeypatch, capfd):
    _, others = finding
    others.loaders["encoder_of_finder"] = Loader()

    def fail(*arguments):
        raise RuntimeError("of ours")

    monkeypatch.setattr(registry.Registry, "apply", fail)
    import encoder_of_finder

    assert encoder_of_finder.Encoder
    assert "a module is left as it is: RuntimeError: of ours" in capfd.readouterr().err


def test_where_plugins_cannot_be_looked_for_it_is_said_once(finding, tmp_path, monkeypatch, capfd):
    def fail(troubles):
        raise RuntimeError("of ours")

    monkeypatch.setattr(registry, "entry_points", fail)
    write(tmp_path, "first_of_two")
    write(tmp_path, "second_of_two")
    import first_of_two
    import second_of_two

    assert first_of_two.Encoder is not second_of_two.Encoder
    assert capfd.readouterr().err.count("of ours") == 1


def test_the_module_that_makes_us_look_for_plugins_may_be_a_host(finding, tmp_path, seen):
    write(tmp_path, "encoder_of_finder")
    import encoder_of_finder

    assert encoder_of_finder.Encoder in [
        names["Encoder"] for names in looked_into(seen, "encoder_of_finder")
    ]


def test_what_is_imported_before_the_plugins_are_known_is_looked_into(finding, monkeypatch, seen):
    made, _ = finding
    for name in ("package.encoder_of_finder", "package.other"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, "no.encoder_of_finder", None)
    made.discover()
    assert looked_into(seen, "package.encoder_of_finder")
    assert looked_into(seen, "__main__")
    assert not looked_into(seen, "package.other")


def test_a_plugin_that_imports_its_own_host_has_it_looked_into(finding, tmp_path, seen):
    write(tmp_path, "finding", "import encoder_of_finder\n" + PLUGIN)
    write(tmp_path, "encoder_of_finder")
    write(tmp_path, "anything")
    import anything

    assert anything
    assert len(looked_into(seen, "encoder_of_finder")) == 1


def test_threads_that_import_while_plugins_are_looked_for_neither_wait_nor_miss(
    finding, tmp_path, seen
):
    """One thread's plugin needs a module that the other one is importing, and the reverse."""
    _, others = finding
    looking, go = threading.Event(), threading.Event()

    def slow(module):
        looking.wait(60)
        import encoder_of_finder

        assert encoder_of_finder.Encoder
        go.set()

    others.loaders |= {"slow_module": Loader(slow), "encoder_of_finder": Loader()}
    write(tmp_path, "finding", f"import {__name__} as test\ntest.meet()\n{PLUGIN}")
    write(tmp_path, "trigger")

    def meet():
        first.start()
        wait_until(lambda: "slow_module" in sys.modules)
        looking.set()
        import slow_module

        assert slow_module
        assert go.is_set()

    first = threading.Thread(target=lambda: importlib.import_module("slow_module"), daemon=True)
    globals()["meet"] = meet
    import trigger

    first.join(60)
    assert not first.is_alive()
    assert trigger.Encoder
    assert len(looked_into(seen, "encoder_of_finder")) == 1


def test_nothing_is_imported_while_the_import_lock_is_held(finding, monkeypatch):
    made, others = finding
    others.loaders |= {"encoder_of_finder": Loader(), "first": Loader()}
    held = []
    real = Finder.find_spec

    def find_spec(self, name, path=None, target=None):
        before = set(sys.modules)
        found = real(self, name, path, target)
        held.extend(set(sys.modules) - before)
        return found

    monkeypatch.setattr(Finder, "find_spec", find_spec)
    importlib.import_module("first")
    importlib.import_module("encoder_of_finder")
    assert made.registry is not None
    assert held == []


def test_a_child_forked_while_plugins_are_looked_for_looks_for_itself(finding, tmp_path):
    made, _ = finding
    made._looking.acquire()
    assert made.discover() is None

    def look():
        made._after_fork()
        return made.discover() is not None

    assert in_child(look)


def test_it_is_installed_once_even_if_its_module_is_loaded_anew(monkeypatch):
    monkeypatch.setattr(sys, "meta_path", [PathFinder])
    monkeypatch.setattr(os, "register_at_fork", lambda **hooks: None)
    installed = finder.install()
    assert sys.meta_path == [installed, PathFinder]
    assert finder.installed() is installed
    assert finder.install() is None
    again = importlib.util.module_from_spec(finder.__spec__)
    finder.__spec__.loader.exec_module(again)
    assert again.install() is None
    assert sys.meta_path == [installed, PathFinder]


def test_a_start_that_fails_is_said_and_nothing_is_raised(monkeypatch, capfd):
    def fail():
        raise RuntimeError("of ours")

    monkeypatch.setattr(finder, "install", fail)
    boot.start()
    assert "cannot be activated: RuntimeError: of ours" in capfd.readouterr().err
    monkeypatch.setenv("STEPAUDIO_CAS_LOG", "off")
    boot.start()
    assert capfd.readouterr().err == ""
