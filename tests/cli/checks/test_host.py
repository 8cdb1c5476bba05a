"""The code of a deployment against what plugins declare."""

import textwrap

import pytest

from stepaudio_cas.cli.checks import host

PLUGIN = {
    "name": "voices",
    "classes": [
        {
            "name": "Encoder",
            "modules": ["encoder", "codec"],
            "owns": ["encode", "rate"],
            "methods": {"encode": [["audio", "sample_rate"]]},
        }
    ],
}
FITTING = """
class Encoder:
    rate = 1
    def encode(self, audio, sample_rate): ...
"""


@pytest.fixture
def examine(tmp_path):
    """Write files below a folder, and return what is found there."""

    def examine_(files=None, **modules):
        for name, text in {**(files or {}), **{f"{m}.py": t for m, t in modules.items()}}.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text))
        return host.examine(str(tmp_path), [PLUGIN])

    return examine_


def only(findings):
    (finding,) = findings
    return finding


@pytest.mark.parametrize("path", ["encoder.py", "deep/fork_impl/codec.py", "a/codec/__init__.py"])
def test_a_class_is_found_in_any_package(examine, path):
    found = only(examine({path: FITTING}))
    assert (found.name, found.state.value) == ("host.class", "ok")
    assert found.text.startswith("voices: ")


def test_where_it_is_found_is_said(examine):
    found = only(examine({"a/encoder.py": FITTING}))
    assert found.text == "voices: encoder.Encoder (a/encoder.py:2): encode as known"
    assert found.subject == "encoder.Encoder"


WRITTEN = {
    "under if": """
        if True:
            class Encoder:
                rate = 1
                def encode(self, audio, sample_rate): ...
    """,
    "under except": """
        try:
            import x
        except ImportError:
            class Encoder:
                rate: int = 1
                def encode(self, audio, /, sample_rate): ...
    """,
    "with names bound otherwise": """
        class Encoder:
            if True:
                rate, other = 1, 2
            def encode(self, audio, *, sample_rate=3) -> int: ...
    """,
    "decorated, with a generator inside": """
        class Encoder(Base):
            class rate: pass
            @traced
            def encode(self, audio, sample_rate):
                return lambda: (yield)
    """,
}


@pytest.mark.parametrize("text", WRITTEN.values(), ids=WRITTEN)
def test_it_is_found_however_it_is_written(examine, text):
    assert only(examine(encoder=text)).state.value == "ok"


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("rate = 1", "pass", "has no rate: it is left alone"),
        ("rate = 1", "rate: int", "has no rate: it is left alone"),
        ("rate = 1", "def rate_(self): rate = 1", "has no rate: it is left alone"),
        ("audio, ", "", "its parameters are (sample_rate), the plugin knows (audio, sample_rate)"),
        ("audio, sample_rate", "sample_rate, audio", "its parameters are (sample_rate, audio)"),
        ("sample_rate)", "sample_rate, *more, x, **y)", "(audio, sample_rate, more, x, y)"),
        ("def encode", "async def encode", "it does not return its result when called"),
        ("...", "yield 1", "it does not return its result when called"),
        ("def encode", "@staticmethod\n    def encode", "it is a staticmethod"),
        ("def encode", "@functools.cached_property\n    def encode", "it is a cached_property"),
        ("def encode(self, audio, sample_rate): ...", "encode = f", "it is not a plain method"),
    ],
)
def test_a_class_of_another_version_is_wrong(examine, old, new, reason):
    found = only(examine(encoder=FITTING.replace(old, new)))
    assert (found.name, found.state.value) == ("host.class", "wrong")
    assert reason in found.text


def test_a_class_in_a_module_of_another_name_is_a_warning(examine):
    found = only(examine(audio_encoder=FITTING))
    assert found.state.value == "warning"
    assert "only if audio_encoder.py is the script that is run" in found.text
    assert "encoder.py or codec.py" in found.remedy


def test_a_class_of_that_name_in_another_module_is_somebody_elses(examine):
    found = only(examine(auto="class Encoder: pass"))
    assert (found.name, found.state.value) == ("host", "wrong")


def test_a_class_that_one_plugin_knows_is_not_held_against_another(examine, monkeypatch):
    other = {**PLUGIN["classes"][0], "owns": ["embed"], "methods": {"embed": [["audio"]]}}
    monkeypatch.setitem(PLUGIN, "classes", [other, *PLUGIN["classes"]])
    assert only(examine(encoder=FITTING)).state.value == "ok"


@pytest.mark.parametrize(
    "text", ["class Other: pass", "def f():\n    class Encoder: pass", "x = 'class Encoder'"]
)
def test_a_module_without_the_class_is_nobodys_and_no_class_at_all_is_wrong(examine, text):
    found = only(examine(encoder=text))
    assert (found.name, found.state.value) == ("host", "wrong")


def test_a_file_that_cannot_be_parsed_is_a_warning(examine):
    found = examine(encoder="class Encoder:\n  if\n", codec=FITTING)
    assert {f.name: f.state.value for f in found} == {"host.class": "ok", "host.file": "warning"}


def test_a_file_is_never_run(examine, tmp_path):
    text = f"open({str(tmp_path / 'ran')!r}, 'w')\nraise SystemExit\n{FITTING}"
    assert only(examine(encoder=text)).state.value == "ok"
    assert not (tmp_path / "ran").exists()


def test_warnings_about_the_hosts_own_text_stay_away(examine):
    assert only(examine(encoder=f"pattern = '\\d'\n{FITTING}")).state.value == "ok"


@pytest.mark.parametrize("folder", [".git", "site-packages", "__pycache__", "env"])
def test_environments_inside_the_folder_are_left_out(examine, tmp_path, folder):
    (tmp_path / folder).mkdir()
    (tmp_path / folder / "pyvenv.cfg").write_text("")
    (tmp_path / folder / "encoder.py").write_text(FITTING)
    assert only(examine()).name == "host"


def test_links_in_a_circle_end(examine, tmp_path):
    (tmp_path / "again").symlink_to(tmp_path)
    assert len(examine(encoder=FITTING)) == 1


def test_what_is_no_folder_is_wrong(tmp_path):
    assert only(host.examine(str(tmp_path / "nothing"), [PLUGIN])).state.value == "wrong"


def test_what_a_version_holds_is_said_and_another_that_has_more_is_not_it(examine, monkeypatch):
    encoder = {"methods": {}, "held": ["run"], "lacks": ["prepare"]}
    known = {**PLUGIN, "classes": [{**PLUGIN["classes"][0], **encoder}]}
    monkeypatch.setitem(globals(), "PLUGIN", known)
    found = only(examine({"encoder.py": FITTING}))
    assert found.text.endswith("run as known")
    found = only(examine({"encoder.py": FITTING + "    def prepare(self): ..."}))
    assert found.text.startswith("no class that a plugin knows is defined")
