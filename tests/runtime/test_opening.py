from types import SimpleNamespace

import pytest

import stepaudio_cas as cas
from stepaudio_cas.errors import SettingError
from stepaudio_cas.runtime import opening
from stepaudio_cas.settings import Mode
from stepaudio_cas.store import layout
from tests.support.values import Computation, counters, recipe, tokens


@pytest.fixture
def environment(monkeypatch):
    def set_(**values):
        for name, value in values.items():
            full = "STEPAUDIO_CAS" if name == "store" else f"STEPAUDIO_CAS_{name.upper()}"
            monkeypatch.setenv(full, str(value))

    return set_


@pytest.fixture
def open_environment():
    opened = []

    def open_(**overrides):
        opened.append(cas.open(**overrides))
        return opened[-1]

    yield open_
    for cache in opened:
        cache.close()


def urls(cache):
    return [tier.store.url for tier in cache.chain.tiers]


def names(cache):
    return [tier.name for tier in cache.chain.tiers]


def test_a_path_is_a_store_on_disk(open_cache, root):
    assert urls(open_cache()) == urls(open_cache(str(root))) == [f"file://{root}"]


def test_a_chain_is_opened_in_order_and_each_tier_has_a_name(open_cache, tmp_path):
    cache = open_cache(f"{tmp_path}/a, memory://b ,file://{tmp_path}/c,memory://d")
    assert names(cache) == ["disk", "ram", "disk2", "ram2"]
    assert urls(cache) == [
        f"file://{tmp_path}/a",
        "memory://b",
        f"file://{tmp_path}/c",
        "memory://d",
    ]


def test_tiers_of_one_scheme_have_different_names_even_if_that_ends_in_a_digit():
    schemes = ["s3", "s3", "file", "s3", "file"]
    found = opening.named([SimpleNamespace(url=f"{scheme}://x") for scheme in schemes])
    assert [name for name, _ in found] == ["s3", "s3-2", "disk", "s3-3", "disk2"]


def test_on_is_the_users_own_cache_folder(environment, open_environment, tmp_path):
    environment(store="on", log="off")
    assert urls(open_environment()) == [f"file://{tmp_path}/xdg/stepaudio-cas"]


@pytest.mark.parametrize("value", [None, "", "0", "off"])
def test_without_a_store_it_computes_and_starts_nothing(environment, open_environment, value):
    if value is not None:
        environment(store=value)
    cache, compute = open_environment(), Computation()
    assert not cache.enabled
    assert [cache.get_or_compute(recipe(), compute) for _ in range(2)] == [tokens()] * 2
    assert compute.runs == 2
    assert cache.chain.memory.limit == 0


def test_the_environment_is_read_and_arguments_win(environment, open_environment, root):
    environment(store=root, mode="ro", memory="5MB", log="off")
    assert open_environment().mode is Mode.RO
    cache = open_environment(mode="rw", memory=100)
    assert (cache.mode, cache.chain.memory.limit, urls(cache)) == (Mode.RW, 100, [f"file://{root}"])


def test_what_the_environment_has_wrong_is_said_by_name_and_the_rest_works(
    environment, open_environment, root, capfd
):
    environment(store=root, mode="sideways", memory="lots", colour="blue", log="error")
    cache = open_environment()
    said = capfd.readouterr().err
    for name, remedy in [
        ("STEPAUDIO_CAS_MODE", "rw, ro, refresh, off"), ("STEPAUDIO_CAS_MEMORY", "256MB"),
        ("STEPAUDIO_CAS_COLOUR", "STEPAUDIO_CAS_TTL"),
    ]:  # fmt: skip
        [line] = [line for line in said.splitlines() if f" {name}: " in line]
        assert remedy in line
    assert cache.mode is Mode.RW
    assert cache.get_or_compute(recipe(), Computation()) == tokens()


@pytest.mark.parametrize(
    "wrong", [{"mode": "sideways"}, {"memory": "lots"}, {"colour": "blue"}, {"verify": "2"}]
)
def test_what_the_arguments_have_wrong_is_raised(root, wrong):
    with pytest.raises(SettingError):
        cas.open(root, **wrong)


@pytest.mark.parametrize("url", ["nosuch://x", "file://host/path", ",", "nosuch://x,memory://y"])
def test_a_bad_url_in_an_argument_is_raised(url):
    with pytest.raises(SettingError):
        cas.open(url)


def test_a_bad_url_in_the_environment_is_said_and_left_out(
    environment, open_environment, root, capfd
):
    environment(store=f"nosuch://x,{root}", log="error")
    cache = open_environment()
    assert urls(cache) == [f"file://{root}"]
    assert "nosuch://x" in capfd.readouterr().err
    assert counters(cache) == {"error.setting": 1}


def test_a_store_whose_client_fails_is_said_and_left_out(
    environment, open_environment, monkeypatch, capfd
):
    def fail(url):
        raise RuntimeError("no credentials")

    monkeypatch.setattr(opening, "open_backend", fail)
    environment(store="s3://bucket", log="error")
    cache = open_environment()
    assert not cache.enabled
    assert "s3://bucket cannot be opened: no credentials" in capfd.readouterr().err
    with pytest.raises(SettingError, match="no credentials"):
        cas.open("s3://bucket")


@pytest.mark.parametrize("content", [None, b"", b"short", b"# only a comment\n"])
def test_a_signing_key_that_cannot_be_read_means_nothing_is_cached_and_is_said(
    environment, open_environment, root, tmp_path, capfd, content
):
    path = tmp_path / "key"
    if content is not None:
        path.write_bytes(content)
    environment(store=root, signing_key_file=path, log="error")
    cache, compute = open_environment(), Computation()
    assert [cache.get_or_compute(recipe(), compute) for _ in range(2)] == [tokens()] * 2
    assert (compute.runs, cache.mode) == (2, Mode.OFF)
    assert not root.exists()
    said = capfd.readouterr().err
    assert str(path) in said
    assert "nothing is cached until this is mended" in said
    with pytest.raises(SettingError, match=str(path)):
        cas.open(root, signing_key_file=str(path))


def digests_at(cache):
    return str(cache.files._database)


def test_state_is_kept_in_the_first_local_store(open_cache, tmp_path):
    cache = open_cache(f"memory://x,{tmp_path}/a,{tmp_path}/b")
    assert digests_at(cache) == f"{tmp_path}/a/{layout.STATE}/files.sqlite"


def test_state_of_a_store_that_may_only_be_read_is_kept_elsewhere(open_cache, tmp_path):
    expected = f"{tmp_path}/xdg/stepaudio-cas/{layout.STATE}/files.sqlite"
    assert digests_at(open_cache(mode="ro")) == expected
    assert digests_at(open_cache("memory://x")) == expected


def test_state_is_kept_where_one_says(open_cache, tmp_path):
    cache = open_cache(state=f"{tmp_path}/here")
    assert digests_at(cache) == f"{tmp_path}/here/files.sqlite"


def test_tiers_are_writable_as_the_mode_says(open_cache):
    writable = {mode: open_cache(mode=mode).chain.tiers[0].writable for mode in
                ["rw", "ro", "refresh"]}  # fmt: skip
    assert writable == {"rw": True, "ro": False, "refresh": True}


@pytest.mark.parametrize(("mode", "kept"), [("rw", True), ("refresh", True), ("ro", False)])
def test_a_store_keeps_itself_where_it_may_be_written(open_cache, mode, kept):
    cache = open_cache(mode=mode, max_size="1GB", ttl="1d")
    assert (cache._housekeeping._keeper is not None) is kept


def test_the_first_local_store_of_a_chain_is_the_one_that_keeps_itself(open_cache, tmp_path):
    cache = open_cache(f"memory://x,{tmp_path}/a,{tmp_path}/b", ttl="1d")
    assert cache._housekeeping._keeper._backend.root == f"{tmp_path}/a"
    assert open_cache("memory://x", ttl="1d")._housekeeping._keeper is None


def test_a_place_for_state_that_cannot_be_used_is_said_once(open_cache, tmp_path, capfd):
    (tmp_path / "file").write_text("")
    (tmp_path / "weights").write_text("weights")
    cache = open_cache(state=f"{tmp_path}/file/here", log="error")
    for _ in range(2):
        assert cache.files.digest(tmp_path / "weights").size == 7
    said = capfd.readouterr().err
    assert said.count(f"STEPAUDIO_CAS_STATE={tmp_path}/file/here cannot be used") == 1
