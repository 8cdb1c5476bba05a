import os

import pytest

from stepaudio_cas.settings import (
    Level,
    Mode,
    Problem,
    Settings,
    Strictness,
    read_settings,
    split_stores,
)
from stepaudio_cas.units import Lifetimes

STORES = "STEPAUDIO_CAS"


def settings(**variables):
    """The settings of variables that are all good."""
    found, problems = read_settings(variables)
    assert not problems
    return found


def variable(name):
    return f"STEPAUDIO_CAS_{name}"


def test_with_nothing_set_everything_has_its_default():
    found = settings()
    assert found == Settings()
    assert not found.enabled
    assert (found.memory, found.mode, found.log) == (256_000_000, Mode.RW, Level.INFO)
    assert (found.max_size, found.ttl, found.verify) == (None, None, 0.0)
    assert found.fingerprint is Strictness.MODEL


@pytest.mark.parametrize(
    ("name", "text", "field", "value"),
    [
        ("MEMORY", "64MB", "memory", 64_000_000),
        ("MEMORY", "0", "memory", 0),
        ("MODE", "rw", "mode", Mode.RW),
        ("MODE", "ro", "mode", Mode.RO),
        ("MODE", "Refresh", "mode", Mode.REFRESH),
        ("MODE", "OFF", "mode", Mode.OFF),
        ("MAX_SIZE", "10GiB", "max_size", 10 << 30),
        ("TTL", "30d", "ttl", 2_592_000.0),
        ("TTL", "1h,funasr=60", "ttl", Lifetimes(3600.0, (("funasr", 60.0),))),
        ("FINGERPRINT", "strict", "fingerprint", Strictness.STRICT),
        ("FINGERPRINT", "model", "fingerprint", Strictness.MODEL),
        ("VERIFY", "0.01", "verify", 0.01),
        ("VERIFY", "0", "verify", 0.0),
        ("VERIFY", "1", "verify", 1.0),
        ("SIGNING_KEY_FILE", "/run/secrets/cas", "signing_key_file", "/run/secrets/cas"),
        ("LOG", "off", "log", Level.OFF),
        ("LOG", "error", "log", Level.ERROR),
        ("LOG", "info", "log", Level.INFO),
        ("LOG", "DEBUG", "log", Level.DEBUG),
        ("DEADLINE", "250", "deadline", 250.0),
        ("DEADLINE", "0.5s", "deadline", 0.5),
        ("STATE", "/var/lib/cas", "state", "/var/lib/cas"),
        ("PLUGINS", "editx, cosyvoice ,", "plugins", ("editx", "cosyvoice")),
        ("WATCH", "/srv/voices, /srv/more voices", "watch", ("/srv/voices", "/srv/more voices")),
        ("WATCH", "off", "watch", ()),
        ("PANEL", "1", "panel", "on"),
        ("PANEL", "Voices", "panel", "voices"),
        ("PANEL", "off", "panel", ""),
    ],
)
def test_each_variable_is_read(name, text, field, value):
    for written in (text, f"  {text}\n"):
        found = settings(**{variable(name): written})
        assert getattr(found, field) == value
        assert found == Settings(**{field: value})


@pytest.mark.parametrize("text", ["", "  ", "0", "off", "OFF", "False", "no"])
def test_off_means_off(text):
    found = settings(**{STORES: text})
    assert found.stores == ()
    assert not found.enabled


@pytest.mark.parametrize("text", ["1", "on", "On", "true", "YES"])
def test_on_means_the_default_store(text):
    assert settings(**{STORES: text}).stores == ("default",)


@pytest.mark.parametrize(
    ("text", "stores"),
    [
        ("/voices", ("/voices",)),
        ("~/voices", ("~/voices",)),
        ("s3://Bucket/Prefix", ("s3://Bucket/Prefix",)),
        (" /fast , redis://host:6379/0,s3://b/p ", ("/fast", "redis://host:6379/0", "s3://b/p")),
        ("/a,,/b,", ("/a", "/b")),
        ("/one store", ("/one store",)),
        ("./off", ("./off",)),
        ("memory://a", ("memory://a",)),
    ],
)
def test_stores_stand_in_a_chain_fastest_first(text, stores):
    found = settings(**{STORES: text})
    assert found.stores == split_stores(text.strip()) == stores
    assert found.enabled


def test_the_mode_off_is_off_whatever_the_stores():
    assert not settings(STEPAUDIO_CAS="/voices", STEPAUDIO_CAS_MODE="off").enabled
    assert settings(STEPAUDIO_CAS="/voices", STEPAUDIO_CAS_MODE="ro").enabled


SIZE = "is not a size such as 512, 256MB or 1.5GiB"
BAD = [
    (STORES, "names no store; give a path or URL", [",", " , ,"]),
    (variable("MEMORY"), SIZE, ["much", "-1", "1.5.2", "9" * 400]),
    (variable("MODE"), "is not one of rw, ro, refresh, off", ["write", "r", "rw,ro"]),
    (variable("MAX_SIZE"), SIZE, ["10 Gb/s", "9" * 400]),
    (variable("TTL"), "is not a duration such as 90, 15m, 24h or 30d", ["soon", "1ms", "a=soon"]),
    (variable("TTL"), "is not longer than nothing", ["0", "1h,a=0"]),
    (variable("TTL"), "is not a duration, or several such as 30d,funasr=2h", ["1h,2h", "=1h"]),
    (variable("FINGERPRINT"), "is not one of model, strict", ["loose", "1"]),
    (
        variable("VERIFY"),
        "is not a share between 0 and 1, such as 0.01",
        ["2", "-0.1", "1%", "nan", "inf"],
    ),
    (variable("LOG"), "is not one of off, error, info, debug", ["warning", "2"]),
    (variable("PANEL"), "is not off, on, or voices", ["2", "names"]),
    (variable("DEADLINE"), "is not longer than nothing", ["0", "0s"]),
    (variable("DEADLINE"), "is longer than a day", ["25h", "1000y"]),
]


@pytest.mark.parametrize(
    ("name", "text", "allowed"),
    [(name, text, allowed) for name, allowed, texts in BAD for text in texts],
    ids=lambda part: part[:20],
)
def test_a_bad_value_is_said_once_by_name_and_the_rest_works(name, text, allowed):
    good = {STORES: "/voices", variable("LOG"): "debug", variable("TTL"): "1h"}
    good.pop(name, None)
    found, problems = read_settings(good | {name: text})
    assert [problem.name for problem in problems] == [name]
    assert allowed in problems[0].text
    assert str(problems[0]) == f"{name}: {problems[0].text}"
    assert found == settings(**good)


def test_every_bad_value_is_said():
    found, problems = read_settings(
        {STORES: "/voices", variable("MODE"): "w", variable("TTL"): "x", variable("LOG"): "y"}
    )
    assert {problem.name for problem in problems} == {
        variable("MODE"),
        variable("TTL"),
        variable("LOG"),
    }
    assert found == Settings(stores=("/voices",))


@pytest.mark.parametrize("name", ["STEPAUDIO_CAS_MEMROY", "STEPAUDIO_CAS_", "STEPAUDIO_CAS_mode"])
def test_a_variable_that_we_do_not_know_is_said_with_those_we_do(name):
    found, problems = read_settings({name: "1", variable("LOG"): "error"})
    assert [problem.name for problem in problems] == [name]
    assert "STEPAUDIO_CAS_MEMORY" in problems[0].text
    assert found == Settings(log=Level.ERROR)


def test_variables_of_others_are_none_of_our_business():
    assert settings(PATH="/bin", STEPAUDIO="x", STEPAUDIO_CASTLE="y", MODE="w") == Settings()


@pytest.mark.parametrize("name", ["MEMORY", "MODE", "TTL", "LOG", "SIGNING_KEY_FILE", "CONFIG"])
def test_an_empty_variable_is_as_good_as_none(name):
    assert settings(**{variable(name): "" if name == "CONFIG" else " "}) == Settings()


def test_the_environment_of_the_process_is_read(monkeypatch):
    monkeypatch.setenv(variable("LOG"), "error")
    assert read_settings() == (Settings(log=Level.ERROR), [])
    assert variable("LOG") in os.environ


@pytest.fixture
def toml(tmp_path):
    def write(text, **variables):
        path = tmp_path / "cas.toml"
        path.write_text(text, encoding="utf-8")
        return read_settings({variable("CONFIG"): str(path), **variables})

    return write


def test_settings_may_stand_in_a_file(toml):
    found, problems = toml("""
        STEPAUDIO_CAS = "/voices"
        STEPAUDIO_CAS_MODE = "ro"
        log = "error"
        max_size = "10GB"
        ttl = 3600
        verify = 0.25
        memory = 1000
    """)
    assert not problems
    assert found == Settings(
        stores=("/voices",),
        mode=Mode.RO,
        log=Level.ERROR,
        max_size=10**10,
        ttl=3600.0,
        verify=0.25,
        memory=1000,
    )


@pytest.mark.parametrize(
    ("text", "stores"),
    [
        ('store = "/voices"', ("/voices",)),
        ('store = ["/fast", "s3://b/p"]', ("/fast", "s3://b/p")),
        ("store = true", ("default",)),
        ("store = false", ()),
        ('STEPAUDIO_CAS = "on"', ("default",)),
    ],
)
def test_a_file_may_name_stores_as_toml_has_them(toml, text, stores):
    found, problems = toml(text)
    assert not problems
    assert found.stores == stores


def test_the_environment_wins_over_the_file(toml):
    found, problems = toml(
        'store = "/file"\nmode = "ro"\nttl = "1h"',
        STEPAUDIO_CAS="/environment",
        STEPAUDIO_CAS_MODE="refresh",
    )
    assert not problems
    assert found == Settings(stores=("/environment",), mode=Mode.REFRESH, ttl=3600.0)


def test_the_environment_can_switch_off_what_the_file_switches_on(toml):
    found, problems = toml('store = "/file"', STEPAUDIO_CAS="0")
    assert not problems
    assert not found.enabled


def test_a_bad_value_in_a_file_is_said_by_the_name_of_its_variable(toml):
    found, problems = toml('mode = "w"\nlogs = "off"\nlog = "error"\n[memory]\nsize = 1')
    assert sorted(problem.name for problem in problems) == [
        "STEPAUDIO_CAS_LOGS",
        "STEPAUDIO_CAS_MEMORY",
        "STEPAUDIO_CAS_MODE",
    ]
    assert found == Settings(log=Level.ERROR)


def test_a_bad_value_in_the_file_is_no_problem_if_the_environment_has_a_good_one(toml):
    assert toml('mode = "w"', STEPAUDIO_CAS_MODE="ro") == (Settings(mode=Mode.RO), [])


@pytest.mark.parametrize(
    "content", [b"mode = ", b"\xff\xfe", b"a = 1\na = 2", b"a = " + b"[" * 9000], ids=range(4)
)
def test_a_file_that_is_no_toml_is_said_and_the_rest_works(tmp_path, content):
    path = tmp_path / "cas.toml"
    path.write_bytes(content)
    found, problems = read_settings({variable("CONFIG"): str(path), STORES: "/voices"})
    assert [problem.name for problem in problems] == [variable("CONFIG")]
    assert str(path) in problems[0].text
    assert found == Settings(stores=("/voices",))


@pytest.mark.parametrize(
    "path", ["/nowhere/cas.toml", "/", "~nobody-of-that-name/cas.toml", "a\0b"], ids=range(4)
)
def test_a_file_that_cannot_be_read_is_said_and_the_rest_works(path):
    found, problems = read_settings({variable("CONFIG"): path, STORES: "/voices"})
    assert [problem.name for problem in problems] == [variable("CONFIG")]
    assert "cannot be read" in problems[0].text
    assert found == Settings(stores=("/voices",))


def test_a_file_may_be_in_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "cas.toml").write_text('mode = "ro"')
    assert settings(STEPAUDIO_CAS_CONFIG="~/cas.toml").mode is Mode.RO


def test_a_file_names_no_other_file(toml, tmp_path):
    (tmp_path / "other.toml").write_text('mode = "ro"')
    assert toml(f'config = "{tmp_path}/other.toml"') == (Settings(), [])


def test_an_override_reads_text_as_the_environment_does():
    changed = Settings().override(memory="64MB", mode="RO", stores="/a,/b", ttl="1h", verify="0.5")
    assert changed == Settings(
        memory=64_000_000, mode=Mode.RO, stores=("/a", "/b"), ttl=3600.0, verify=0.5
    )


def test_an_override_takes_values_as_they_are():
    changed = Settings(ttl=5.0).override(memory=10, mode=Mode.OFF, ttl=None)
    assert changed == Settings(memory=10, mode=Mode.OFF)


def test_an_override_leaves_what_it_came_from():
    before = Settings(ttl=5.0)
    assert before.override() == before
    before.override(ttl="1h")
    assert before.ttl == 5.0


def test_an_override_of_what_there_is_not_says_what_there_is():
    with pytest.raises(ValueError, match=r"no setting 'memry'; there are .*memory, mode"):
        Settings().override(memry=1)


@pytest.mark.parametrize(
    ("name", "text"),
    [("memory", "much"), ("mode", "w"), ("ttl", "0"), ("verify", "2"), ("stores", ",")],
)
def test_an_override_with_a_bad_text_says_which(name, text):
    with pytest.raises(ValueError, match=f"^{name}: "):
        Settings().override(**{name: text})


def test_a_problem_names_its_variable():
    assert (
        str(Problem("STEPAUDIO_CAS_LOG", "'x' is not one")) == "STEPAUDIO_CAS_LOG: 'x' is not one"
    )
