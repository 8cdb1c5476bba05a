"""The plugin of docs/plugins.md, built, installed by pip and used, as its page says."""

import re
import sys

import numpy as np
import pytest

from tests.activation.deployments import REPOSITORY, Environment, Host, build, succeed

PAGE = (REPOSITORY / "docs" / "plugins.md").read_text()
BLOCK = re.compile(r"`([\w/]+\.\w+)`[^`]*(?:`embedding`[^`]*)?:\n\n```\w+\n(.*?)```", re.DOTALL)


@pytest.fixture(scope="module")
def files():
    """The files that the page shows, by name."""
    return dict(BLOCK.findall(PAGE))


@pytest.fixture(scope="module")
def installed(files, wheel, tmp_path_factory):
    """A fresh environment with us and the plugin installed by pip."""
    folder = tmp_path_factory.mktemp("third-party")
    for name in ("acme_cas.py", "pyproject.toml"):
        (folder / "acme").mkdir(exist_ok=True)
        (folder / "acme" / name).write_text(files[name])
    made = Environment(folder / "venv")
    for found in (wheel, build(folder / "acme", folder / "dist")):
        pip = [sys.executable, "-m", "pip", "--python", made.python, "install"]
        succeed([*pip, "--no-deps", "--no-index", "--disable-pip-version-check", found])
    return made.link_needed()


@pytest.fixture
def host(files, installed, tmp_path):
    host = Host(tmp_path, installed)
    for name in ("acme_voice/encoder.py", "app.py"):
        host.write(name, files[name])
    np.save(tmp_path / "weights.npy", np.arange(4.0))
    return host


def embeddings(host, **environment):
    """How often the host has embedded, by what it says itself."""
    return succeed(
        [host.python, "app.py"], cwd=host.folder, env=host.environment | environment
    ).count("embedding")


def test_the_page_shows_the_files(files):
    assert files.keys() == {"acme_voice/encoder.py", "acme_cas.py", "pyproject.toml", "app.py"}


def test_the_host_of_the_page_embeds_once(host):
    assert [embeddings(host) for _ in range(2)] == [1, 0]


def test_without_the_variable_it_embeds_each_time(host):
    assert embeddings(host, STEPAUDIO_CAS="") == 2


def test_where_the_plugin_is_not_allowed_it_embeds_each_time(host):
    assert embeddings(host, STEPAUDIO_CAS_PLUGINS="stepaudio") == 2


def test_other_weights_and_another_setting_give_other_embeddings(host):
    embeddings(host)
    np.save(host.folder / "weights.npy", np.ones(4))
    assert [embeddings(host) for _ in range(2)] == [1, 0]
    app = (host.folder / "app.py").read_text()
    host.write("app.py", app.replace('"weights.npy"', '"weights.npy", normalise=False'))
    assert [embeddings(host) for _ in range(2)] == [1, 0]


def test_what_is_not_loaded_is_passed_through(host):
    app = (host.folder / "app.py").read_text()
    host.write("app.py", app + "encoder.forget()\nencoder.embed(clip, 16000)\n")
    with pytest.raises(AssertionError, match="NoneType"):
        embeddings(host)


def test_the_page_names_every_role_and_every_part_of_the_interface():
    from stepaudio_cas.activation import plugin

    names = [name for name in vars(plugin) if name[0] != "_" and name not in IMPORTED]
    assert [name for name in names if not re.search(rf"\b{name}\b", PAGE)] == []


IMPORTED = {"annotations", "TYPE_CHECKING", "Any", "NamedTuple", "check", "Role"}
