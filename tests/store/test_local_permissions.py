"""Several users of one group share a store whose root lets them."""

import errno
import os
import stat

import pytest

from stepaudio_cas.store.local import LocalBackend

PATH = "v1/objects/ab/abcd"


@pytest.fixture(params=[0o022, 0o077, 0o000], ids=oct)
def umask(request):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(path):
    return stat.S_IMODE(os.stat(path).st_mode)


def below(root):
    for folder, folders, names in os.walk(root):
        for name in folders:
            yield os.path.join(folder, name), True
        for name in names:
            if name != "CACHEDIR.TAG":
                yield os.path.join(folder, name), False


@pytest.mark.parametrize("root_mode", [0o2775, 0o775, 0o755, 0o700, 0o2770, 0o1777])
def test_folders_and_files_take_the_permissions_of_the_root(root, umask, root_mode):
    root.mkdir()
    root.chmod(root_mode)
    local = LocalBackend(root)
    local.put(PATH, b"content")
    local.put("v1/manifests/cd/cdef.json", b"content", create=True)
    lock = local.try_lock("held")
    found = {(is_folder, mode(path)) for path, is_folder in below(root)}
    lock.release()
    assert found == {(True, root_mode), (False, root_mode & 0o666)}


def test_a_root_of_its_own_has_the_permissions_that_the_umask_leaves(root, umask):
    LocalBackend(root).put(PATH, b"content")
    assert mode(root) == 0o777 & ~umask
    assert mode(root / "v1/objects/ab") == 0o777 & ~umask
    assert mode(root / PATH) == 0o666 & ~umask


def test_everything_belongs_to_the_group_of_a_set_gid_root(root):
    group = 12345 if os.geteuid() == 0 else os.getegid()
    root.mkdir()
    os.chown(root, -1, group)
    root.chmod(0o2770)
    local = LocalBackend(root)
    local.put(PATH, b"content")
    local.put(f"{PATH}2", b"content", create=True)
    lock = local.try_lock("held")
    assert {os.stat(path).st_gid for path, _ in below(root)} == {group}
    lock.release()


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP])
def test_a_file_system_that_refuses_to_set_permissions_is_written_all_the_same(
    root, monkeypatch, number
):
    def refuse(*args):
        raise OSError(number, "this mount decides by itself")

    monkeypatch.setattr(os, "fchmod", refuse)
    monkeypatch.setattr(os, "chmod", refuse)
    local = LocalBackend(root)
    assert local.put(PATH, b"content") is True
    assert local.put(f"{PATH}2", b"content", create=True) is True
    assert local.get(PATH) == b"content"
    assert local.try_lock("x") is not None


def test_nobody_else_can_read_a_temporary_file_before_the_root_says_so(root, monkeypatch):
    modes, open_ = [], os.open

    def record(path, flags, *rest, **more):
        if ".tmp-" in os.fspath(path):
            modes.append(rest[0])
        return open_(path, flags, *rest, **more)

    root.mkdir()
    root.chmod(0o700)
    monkeypatch.setattr(os, "open", record)
    LocalBackend(root).put(PATH, b"content")
    assert set(modes) == {0o600}
