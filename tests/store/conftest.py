"""Every backend behind one fixture."""

import uuid

import pytest

from stepaudio_cas.store.local import LocalBackend
from stepaudio_cas.store.store import Store
from stepaudio_cas.store.urls import open_backend
from tests.support.backends import BACKENDS, SERVED


@pytest.fixture(params=[*BACKENDS, *SERVED])
def connect(request, tmp_path):
    """Make one more instance of the backend under test, over the same documents."""
    folder = tmp_path / f"backend-{uuid.uuid4().hex}"
    if request.param in SERVED:
        url = f"{request.getfixturevalue(SERVED[request.param])}/{folder.name}"
        return lambda: open_backend(url)
    folder.mkdir()
    return lambda: BACKENDS[request.param](folder)


@pytest.fixture
def backend(connect):
    """A backend without any documents."""
    return connect()


@pytest.fixture
def store(backend):
    """A store on every backend."""
    return Store(backend)


@pytest.fixture
def local(root):
    """A local backend whose root does not exist yet."""
    return LocalBackend(root)
