"""Installed environments, made once for all tests of this folder, and hosts to run in them."""

import pytest

from tests.activation.deployments import (
    REPOSITORY,
    Environment,
    Host,
    build,
    build_editable,
    shared,
)
from tests.activation.in_process import Loader


@pytest.fixture(scope="session")
def common(tmp_path_factory):
    """A folder that all workers of this run share."""
    base = tmp_path_factory.getbasetemp()
    folder = base.parent / f"common-{base.parent.name}" if "gw" in base.name else base / "common"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def wheel(common):
    """The wheel of this project."""
    return shared(common, "wheel", lambda folder: build(REPOSITORY, folder))


@pytest.fixture(scope="session")
def environment(common, wheel):
    """An environment with the wheel installed."""

    def make(folder):
        return Environment(folder, wheel).link_needed().folder

    return Installed(shared(common, "environment", make))


@pytest.fixture(scope="session")
def editable(common):
    """An environment with this checkout installed in place."""

    def make(folder):
        made = build_editable(folder.with_name("editable-wheel"))
        return Environment(folder, made).link_needed().folder

    return Installed(shared(common, "editable", make))


class Installed:
    """An environment that has been made."""

    def __init__(self, folder):
        self.folder = folder
        self.python = folder / "bin" / "python"
        self.packages = next((folder / "lib").glob("python3*")) / "site-packages"


@pytest.fixture
def host(tmp_path, environment):
    """A host in an environment that has us installed from a wheel."""
    return Host(tmp_path, environment)


@pytest.fixture
def loader(tmp_path, monkeypatch, open_cache):
    """Loads small hosts into this process and patches them."""
    return Loader(tmp_path, monkeypatch, open_cache)


@pytest.fixture
def encoder(loader):
    """A module with a patched class."""
    return loader.patch(loader.module())
