"""What `--host` says, and what is said when it says it wrongly."""

import pytest

from stepaudio_cas.activation.loading import describe_loaders, loaders, methods_of, parse_host, said
from stepaudio_cas.errors import SettingError
from tests.prewarm.small_host import SmallHost


@pytest.fixture
def small(tmp_path, monkeypatch):
    made = SmallHost(tmp_path / "small")
    monkeypatch.syspath_prepend(str(made.site))
    return made


def refused(text):
    with pytest.raises(SettingError) as error:
        parse_host(text)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_plugin_and_the_folder_of_the_host_s_code(small):
    spec = parse_host(f"small:{small.code}?weights=/models/w.txt&ask=direct")
    assert (spec.module, spec.function) == ("small_loader", "load")
    assert spec.folder == str(small.code)
    assert spec.options == {"weights": "/models/w.txt", "ask": "direct"}


def test_a_function_in_a_module_of_one_s_own(small, monkeypatch):
    for text in (f"{small.code}/mine:make?weights=a", f"{small.code}/mine.py:make?weights=a"):
        spec = parse_host(text)
        assert (spec.folder, spec.module, spec.function) == (str(small.code), "mine", "make")
    monkeypatch.chdir(small.code)
    assert parse_host("mine:make").folder == str(small.code)


def test_a_plugin_goes_before_a_module_of_its_name(small, monkeypatch):
    (small.code / "small.py").write_text("")
    monkeypatch.chdir(small.code)
    assert parse_host("small:.").module == "small_loader"
    assert parse_host("./small.py:make").module == "small"


def test_values_may_have_any_character(small):
    spec = parse_host(f"small:{small.code}?weights=/a+b/100%25%26more=1")
    assert spec.options == {"weights": "/a+b/100%&more=1"}


@pytest.mark.parametrize("text", ["", "small", "small:", ":make", "small:?weights=1"])
def test_what_is_no_host_is_answered_with_what_one_looks_like(text, small):
    answer = refused(text)
    assert "PLUGIN:FOLDER" in answer
    assert "small, stepaudio" in answer


def test_a_folder_that_is_not_there(small):
    assert "no-such is not a folder" in refused("small:/no-such")


def test_neither_a_plugin_nor_a_module(small):
    answer = refused("larger:/app")
    assert "neither a plugin larger that loads hosts nor a file" in answer


@pytest.mark.parametrize("query", ["weights", "=1", "weights=1&weights=2"])
def test_options_that_are_none(query, small):
    assert "is not one option=value" in refused(f"small:{small.code}?{query}")


def test_plugins_that_load_hosts_describe_what_they_take(small):
    assert sorted(loaders()) == ["small", "stepaudio"]
    text = describe_loaders()
    assert "small:FOLDER?weights=…&[ask=…]" in text
    assert "  weights  the file with its weights" in text
    assert "stepaudio:FOLDER?model=…&[tokenizer=…]" in text


def test_methods_are_named_as_the_cache_names_them(small):
    methods = methods_of([loaders()["small"]])
    assert methods["small.Encoder.encode/1"].results == 3
    assert methods["small.Studio.prepare/1"].composed


def test_an_exception_is_said_in_one_line():
    assert said(ValueError("a\n  b")) == "ValueError: a b"
    assert said(KeyboardInterrupt()) == "KeyboardInterrupt"
