"""Interpreters that the tests of `cas-tool` share: none of them is changed by a test."""

import pytest

from tests.cli.drawer import Drawer
from tests.cli.environments import Environment, make_host
from tests.prewarm.conftest import small  # noqa: F401 - a fixture


@pytest.fixture(scope="session")
def bare(tmp_path_factory):
    """An interpreter in which nothing of ours is installed."""
    return Environment(tmp_path_factory.mktemp("bare"))


@pytest.fixture(scope="session")
def installed(tmp_path_factory):
    """An interpreter as pip leaves it."""
    folder = tmp_path_factory.mktemp("installed")
    return Environment(folder, importable=True, start_files=True)


@pytest.fixture
def host(tmp_path):
    """A deployment."""
    return make_host(tmp_path / "host")


@pytest.fixture
def drawer(root, capsys):
    """A local store without entries."""
    return Drawer(root, capsys)
