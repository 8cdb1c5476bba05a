"""The settings, and the mistakes that people make with them."""

import os

import pytest

from stepaudio_cas.cli.checks import configuration
from stepaudio_cas.cli.context import read


def examine(**variables):
    """Return the findings by name (the last of each)."""
    named = {f"STEPAUDIO_CAS{name and '_' + name}": text for name, text in variables.items()}
    return {f.name: f for f in configuration.examine(*read(None, named))}


def on(**variables):
    return examine(**{"": "/srv/voices", **variables})


def test_a_plain_set_up_is_ok():
    assert {f.state.value for f in on().values()} == {"ok"}


@pytest.mark.parametrize("value", [None, "off", "0", ""])
def test_off_is_a_warning(value):
    found = examine(**({} if value is None else {"": value}))["setting.switch"]
    assert found.state.value == "warning"
    assert "nothing is cached" in found.text


def test_a_store_with_mode_off_is_wrong():
    found = on(MODE="off")["setting.switch"]
    assert (found.state.value, found.remedy) == (
        "wrong",
        "remove STEPAUDIO_CAS_MODE, or set it to rw",
    )


def test_refresh_is_a_warning():
    assert on(MODE="refresh")["setting.mode"].state.value == "warning"


def test_modes_are_explained():
    assert "nothing is ever written" in on(MODE="ro")["setting.mode"].text


@pytest.mark.parametrize(
    ("name", "value"), [("MEMORY", "lots"), ("MODE", "sometimes"), ("STROE", "/a"), ("TTL", "0")]
)
def test_a_value_that_cannot_be_used_is_wrong_by_name(name, value):
    found = on(**{name: value})["setting"]
    assert (found.state.value, found.subject) == ("wrong", f"STEPAUDIO_CAS_{name}")
    assert found.text.startswith(f"STEPAUDIO_CAS_{name}: ")


def test_a_configuration_file_that_cannot_be_read_is_wrong():
    assert on(CONFIG="/nothing.toml")["setting"].subject == "STEPAUDIO_CAS_CONFIG"


@pytest.mark.parametrize("store", ["voices", "./voices", "/a,voices"])
def test_a_relative_path_is_a_warning(store):
    found = examine(**{"": store})["setting.relative"]
    assert found.state.value == "warning"
    assert os.path.abspath("voices") in found.remedy


@pytest.mark.parametrize("store", ["1", "~/voices", "/srv/voices", "s3://bucket/voices"])
def test_other_stores_are_not_relative(store):
    assert "setting.relative" not in examine(**{"": store})


def test_values_in_force_are_shown():
    text = on(MAX_SIZE="20GB", TTL="30d")["setting.values"].text
    assert "max_size 20.0 GB, ttl 720.0 h, plugins all" in text


@pytest.mark.parametrize(
    ("text", "reason"),
    [(None, "cannot be read"), ("", "holds no key"), ("short", "is shorter than 16")],
)
def test_a_signing_key_that_does_not_do_is_wrong(tmp_path, text, reason):
    path = tmp_path / "key"
    if text is not None:
        path.write_text(text)
    found = on(SIGNING_KEY_FILE=str(path))["setting.signing_key"]
    assert (found.state.value, reason in found.text) == ("wrong", True)


@pytest.mark.parametrize(("mode", "state"), [(0o600, "ok"), (0o640, "ok"), (0o644, "warning")])
def test_a_signing_key_that_everybody_can_read_is_a_warning(tmp_path, mode, state):
    path = tmp_path / "key"
    path.write_text("0123456789abcdef\n")
    path.chmod(mode)
    assert on(SIGNING_KEY_FILE=str(path))["setting.signing_key"].state.value == state


def test_what_is_in_force_is_written_for_people():
    text = on()["setting.values"].text
    assert "ttl none" in text
    assert "watch none" in text
    assert text.endswith("panel none")
    text = on(TTL="30d,funasr=2h", WATCH="/a,/b")["setting.values"].text
    assert "ttl 720.0 h, funasr=2.0 h" in text
    assert "watch /a, /b," in text
