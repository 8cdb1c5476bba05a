"""A plugin that is broken is said by name and skipped; the host and other plugins go on."""

import sys
from importlib.metadata import entry_points

import pytest

from stepaudio_cas.activation.registry import Registry
from tests.activation.deployments import assert_as_without, assert_cached

OURS = {one.name for one in entry_points(group="stepaudio_cas.plugins")}

DECLARED = """
from stepaudio_cas.activation.plugin import HostClass, Method, Model, Parts, Plugin, content, value
"""

BROKEN = {
    "raises": ("raise RuntimeError('out of order')", "RuntimeError: out of order"),
    "leaves": ("import sys; sys.exit(3)", "SystemExit: 3"),
    "needs-more": ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_"),
    "is-none": ("plugin = {'name': 'mine'}", "TypeError: it is a dict, not a Plugin"),
    "has-none": ("my_plugin = None", "has no attribute 'plugin'"),
    "is-cut-off": ("plugin = (", "SyntaxError"),
    "has-no-classes": (
        DECLARED + "plugin = Plugin('mine', ['Tokenizer'])",
        "TypeError: a class is 'Tokenizer', not a HostClass",
    ),
    "spells": (
        DECLARED + "plugin = Plugin('mine', [HostClass('A', 'tokenizer', ['b'], [])])",
        "TypeError: A: 'tokenizer' is one name where several are due",
    ),
    "counts": (
        DECLARED + "plugin = Plugin('mine', [HostClass('A', [1], ['b'], [])])",
        "TypeError: A: a name is 1, not a str",
    ),
    "has-no-roles": (
        DECLARED
        + "m = Method('b', {'audio': 'content'}, lambda self: None)\n"
        + "plugin = Plugin('mine', [HostClass('A', ['tokenizer'], ['b'], [m])])",
        "TypeError: A.b: the role of an argument is 'content', not a Role",
    ),
}


def install(folder, name, text, reference=None):
    module = f"{name.replace('-', '_')}_of_{folder.name}"
    (folder / f"{module}.py").write_text(text)
    information = folder / f"{module}-1.dist-info"
    information.mkdir()
    entry = f"[console_scripts]\nx = y:z\n\n[stepaudio_cas.plugins]\n{name} = "
    (information / "entry_points.txt").write_text(entry + (reference or f"{module}:plugin") + "\n")


@pytest.fixture
def packages(tmp_path, monkeypatch):
    """A folder of installed packages that this process sees."""
    (tmp_path / "packages").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path / "packages"))
    yield tmp_path / "packages"
    for name in [name for name in sys.modules if name.endswith("_of_packages")]:
        del sys.modules[name]


def names(registry):
    return {plugin.name for plugin in registry.plugins}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_plugin_is_skipped_that(packages, kind):
    text, trouble = BROKEN[kind]
    install(packages, kind, text)
    registry = Registry.discover()
    assert "stepaudio" in names(registry)
    [said] = registry.troubles
    assert said.startswith(
        f"plugin {kind} ({kind.replace('-', '_')}_of_packages:plugin) is skipped: "
    )
    assert trouble in said


@pytest.mark.parametrize("reference", ["no_such_module:plugin", "colorsys", ":", "a b:c", "json:"])
def test_an_entry_point_is_skipped_that_leads_nowhere(packages, reference):
    install(packages, "mine", "", reference)
    registry = Registry.discover()
    assert "stepaudio" in names(registry)
    assert [said.partition(" is ")[0] for said in registry.troubles] == [
        f"plugin mine ({reference})"
    ]


def test_entry_points_that_cannot_be_read_are_passed_over(packages):
    install(packages, "mine", "")
    [file] = packages.glob("*/entry_points.txt")
    file.write_bytes(b"[stepaudio_cas.plugins]\nmine = \xff\n")
    registry = Registry.discover()
    assert "stepaudio" in names(registry)
    assert registry.troubles == []


def test_of_two_plugins_with_one_name_the_first_on_the_path_is_taken_and_the_other_said(packages):
    install(packages, "stepaudio", DECLARED + "plugin = Plugin('mine', [])")
    registry = Registry.discover()
    assert names(registry) == OURS - {"stepaudio"} | {"mine"}
    [said] = registry.troubles
    assert said.startswith("plugin stepaudio (stepaudio_cas_plugins.stepaudio:plugin) is skipped: ")


def test_what_an_entry_point_wants_besides_is_no_part_of_its_reference(packages):
    text = DECLARED + "class Group: plugin = Plugin('mine', [])"
    install(packages, "mine", text, "mine_of_packages:Group.plugin [extra]")
    assert "mine" in names(Registry.discover())


ALLOWED = {
    "": OURS | {"mine"},
    "stepaudio": {"stepaudio"},
    "nobody , mine": {"mine"},
    "nobody": set(),
}


@pytest.mark.parametrize("text", ALLOWED)
@pytest.mark.parametrize("by", ["variable", "file"])
def test_only_allowed_plugins_are_loaded(packages, monkeypatch, text, by):
    install(packages, "mine", DECLARED + "plugin = Plugin('mine', [])")
    if by == "variable":
        monkeypatch.setenv("STEPAUDIO_CAS_PLUGINS", text)
    else:
        (packages / "cas.toml").write_text(f'plugins = "{text}"\n')
        monkeypatch.setenv("STEPAUDIO_CAS_CONFIG", str(packages / "cas.toml"))
    assert names(Registry.discover()) == ALLOWED[text]


def test_all_of_these_together_leave_a_host_with_what_works(host):
    for name, (text, _) in BROKEN.items():
        host.plugin(name, text)
    first, _ = assert_cached(host, "app.py")
    assert first.errors.count(" is skipped: ") == len(BROKEN)


def test_a_host_whose_only_plugin_is_not_allowed_is_left_as_it_is(host):
    assert_as_without(host, "app.py", STEPAUDIO_CAS_PLUGINS="mine")


def test_a_name_that_no_plugin_has_is_said(host):
    run = assert_cached(host, "app.py", STEPAUDIO_CAS_PLUGINS="stepaudio,nobody")[0]
    there = ", ".join(sorted(OURS))
    said = f"STEPAUDIO_CAS_PLUGINS names nobody, which is not installed; there is: {there}"
    assert run.errors.count(said) == 1


def test_a_plugin_whose_model_raises_makes_its_calls_bypasses(host):
    host.plugin(
        "a-mine",
        DECLARED
        + "arguments = {'audio': content(), 'sample_rate': value(), 'enable_trim': value(),"
        + " 'energy_norm': value()}\n"
        + "method = Method('wav2token', arguments, lambda self: self.no_such_attribute)\n"
        + "host = HostClass('StepAudioTokenizer', ['tokenizer'], ['wav2token'], [method])\n"
        + "plugin = Plugin('a-mine', [host])",
    )
    done = assert_as_without(host, "app.py")
    assert done.errors.count("bypass a-mine.StepAudioTokenizer.wav2token/1 failed-key") == 2
