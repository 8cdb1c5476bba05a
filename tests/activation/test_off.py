"""Off means off: nothing of ours is imported, and every call is the host's own."""

import pytest

from tests.activation.deployments import Host, assert_as_without, assert_cached

BARE = "import json, sys; print(json.dumps({'ours': sorted(sys.modules)}))"


def ours(done):
    return [name for name in done.said[0]["ours"] if "stepaudio_cas" in name]


@pytest.mark.parametrize("value", [None, ""])
def test_nothing_of_ours_is_imported(host, value):
    assert ours(host.run("-c", BARE, STEPAUDIO_CAS=value)) == []


@pytest.mark.parametrize("value", ["0", " OFF ", "false", "no"])
def test_nothing_is_imported_but_what_reads_the_variable(host, value):
    assert ours(host.run("-c", BARE, STEPAUDIO_CAS=value)) == ["_stepaudio_cas_start"]


def test_an_unset_variable_leaves_the_host_as_it_is(host):
    done = assert_as_without(host, "app.py", STEPAUDIO_CAS=None)
    assert ours(done) == []
    assert done.errors == ""
    assert not host.store.exists()


def test_nothing_of_ours_is_imported_by_an_editable_install(tmp_path, editable):
    host = Host(tmp_path, editable)
    assert ours(host.run("-c", BARE, STEPAUDIO_CAS=None)) == []
    assert ours(host.run("-c", BARE)) != []


def test_a_process_that_imports_nothing_foreign_looks_for_no_plugins(host):
    rooms = ["", ".activation", *(f".activation.{n}" for n in ("boot", "finder", "main_module"))]
    assert ours(host.run("-c", BARE)) == [
        "_stepaudio_cas_start",
        *(f"stepaudio_cas{r}" for r in rooms),
    ]


def test_a_process_without_a_host_opens_no_store(host):
    loaded = ours(host.run("-c", "import msgpack; " + BARE))
    assert "stepaudio_cas_plugins.stepaudio" in loaded
    assert not [n for n in loaded if n.startswith(("stepaudio_cas.runtime", "stepaudio_cas.store"))]
    assert not host.store.exists()


def test_mode_off_leaves_the_host_as_it_is(host):
    assert assert_as_without(host, "app.py", STEPAUDIO_CAS_MODE="off").lines == []
    assert not host.store.exists()


def test_log_off_says_nothing(host):
    first, again = assert_cached(host, "app.py", STEPAUDIO_CAS_LOG="off")
    assert first.errors == again.errors == ""


def test_a_configuration_file_alone_switches_on(host):
    file = host.write("cas.toml", f'store = "{host.store}"\nlog = "error"\n')
    options = {"STEPAUDIO_CAS": None, "STEPAUDIO_CAS_CONFIG": str(file)}
    first, _ = assert_cached(host, "app.py", **options)
    assert first.errors == ""


def test_an_empty_variable_wins_over_a_configuration_file(host):
    file = host.write("cas.toml", f'store = "{host.store}"\n')
    done = assert_as_without(host, "app.py", STEPAUDIO_CAS="", STEPAUDIO_CAS_CONFIG=str(file))
    assert done.said[0]["ours"] == ["_stepaudio_cas_start"]


def test_a_configuration_file_that_is_not_there_is_said_and_the_host_runs(host):
    options = {"STEPAUDIO_CAS": None, "STEPAUDIO_CAS_CONFIG": "/no/such/file.toml"}
    done = assert_as_without(host, "app.py", **options)
    assert "STEPAUDIO_CAS_CONFIG: /no/such/file.toml cannot be read" in done.errors
