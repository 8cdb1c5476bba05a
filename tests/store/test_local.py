"""What is particular to a store on a disk: names, times, leftovers, failures."""

import errno
import os
import shutil
import time

import pytest

from stepaudio_cas.errors import Damaged
from stepaudio_cas.store import layout
from stepaudio_cas.store.local import LocalBackend, is_temporary

PATH = "v1/manifests/ab/abcd.json"
HOUR = 3600


def files(root):
    return sorted(
        os.path.join(folder, name) for folder, _, names in os.walk(root) for name in names
    )


def fail_with(number):
    def fail(*args, **kwargs):
        raise OSError(number, os.strerror(number))

    return fail


def test_nothing_is_made_before_the_first_write(local, root):
    assert local.get(PATH) is None
    assert list(local.list("v1/manifests")) == []
    assert not root.exists()


def test_a_document_is_the_file_of_its_path(local, root):
    local.put(PATH, b"content")
    assert (root / PATH).read_bytes() == b"content"


def test_the_root_is_tagged_as_a_cache_once(local, root):
    local.put(PATH, b"content")
    assert (root / "CACHEDIR.TAG").read_bytes() == layout.CACHEDIR_TAG
    assert layout.CACHEDIR_TAG.startswith(b"Signature: 8a477f597d28d172789f06886806bc55\n")
    (root / "CACHEDIR.TAG").write_bytes(b"mine")
    LocalBackend(root).put("v1/pins/ab/x", b"")
    assert (root / "CACHEDIR.TAG").read_bytes() == b"mine"


def test_a_relative_root_stays_where_it_was_when_the_process_moves(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    backend = LocalBackend("relative")
    monkeypatch.chdir("/")
    backend.put(PATH, b"content")
    assert (tmp_path / "relative" / PATH).exists()


@pytest.mark.parametrize("create", [False, True])
def test_every_write_has_a_temporary_name_of_its_own_beside_its_target(
    local, root, monkeypatch, create
):
    opened, open_ = [], os.open

    def record(path, flags, *mode, **more):
        if flags & os.O_CREAT:
            assert flags & os.O_EXCL
            opened.append(path)
        return open_(path, flags, *mode, **more)

    local.put(PATH, b"makes the folders")
    monkeypatch.setattr(os, "open", record)
    for number in range(20):
        local.put(f"v1/manifests/ab/{number}.json", b"content", create=create)
    assert len(set(opened)) == len(opened) == 20
    assert {os.path.dirname(path) for path in opened} == {str(root / "v1/manifests/ab")}
    assert all(is_temporary(path) for path in opened)


@pytest.mark.parametrize("create", [False, True])
def test_nothing_is_left_of_a_successful_write(local, root, create):
    local.put(PATH, b"content", create=create)
    local.put(PATH, b"content", create=create)
    assert files(root) == [str(root / "CACHEDIR.TAG"), str(root / PATH)]


@pytest.mark.parametrize("name", ["write", "close", "link", "replace"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_nothing_is_left_of_a_failed_write_and_the_old_document_stands(
    local, root, monkeypatch, name, number
):
    local.put(PATH, b"old")
    close = os.close

    def close_and_fail(fd):
        close(fd)
        raise OSError(number, os.strerror(number))

    target, create = ("v1/manifests/ab/new.json", True) if name == "link" else (PATH, False)
    with monkeypatch.context() as patch:
        patch.setattr(os, name, close_and_fail if name == "close" else fail_with(number))
        with pytest.raises(OSError) as raised:
            local.put(target, b"new", create=create)
    assert raised.value.errno == number
    assert files(root) == [str(root / "CACHEDIR.TAG"), str(root / PATH)]
    assert local.get(PATH) == b"old"


def test_nothing_is_left_when_a_write_is_interrupted(local, root, monkeypatch):
    local.put(PATH, b"old")

    def interrupt(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", interrupt)
        with pytest.raises(KeyboardInterrupt):
            local.put(PATH, b"new")
    assert files(root) == [str(root / "CACHEDIR.TAG"), str(root / PATH)]


def test_a_short_write_is_continued(local, monkeypatch):
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:3]))
    local.put(PATH, b"ten letters")
    assert local.get(PATH) == b"ten letters"


def test_a_short_read_is_continued(local, monkeypatch):
    local.put(PATH, b"ten letters")
    read = os.read
    monkeypatch.setattr(os, "read", lambda fd, size: read(fd, min(size, 3)))
    assert local.get(PATH) == b"ten letters"


def test_temporary_files_are_not_listed_but_are_among_everything(local, root):
    local.put(PATH, b"content")
    (root / "v1/manifests/ab/.tmp-1-dead").write_bytes(b"half")
    assert [entry.path for entry in local.list("v1/manifests")] == [PATH]
    everything = sorted(entry.path for entry in local.everything("v1/manifests"))
    assert everything == ["v1/manifests/ab/.tmp-1-dead", PATH]


def test_a_listing_that_fails_in_the_middle_raises(local, monkeypatch):
    local.put(PATH, b"content")
    local.put("v1/manifests/cd/cdef.json", b"content")
    scan = os.scandir
    monkeypatch.setattr(
        os, "scandir", lambda path: fail_with(errno.EIO)() if path.endswith("cd") else scan(path)
    )
    with pytest.raises(OSError, match="Input/output"):
        list(local.list("v1/manifests"))


def test_links_to_folders_are_not_followed(local, root):
    local.put(PATH, b"content")
    os.symlink(root / "v1", root / "v1/manifests/loop")
    found = [entry.path for entry in local.list("v1/manifests")]
    assert sorted(found) == [PATH, "v1/manifests/loop"]


def test_a_file_that_outgrows_its_limit_while_it_is_read_is_read_whole(local, root, monkeypatch):
    local.put(PATH, b"12345")
    fstat = os.fstat

    def fstat_then_append(fd):
        status = fstat(fd)
        with open(root / PATH, "ab") as file:
            file.write(b"6")
        return status

    monkeypatch.setattr(os, "fstat", fstat_then_append)
    assert local.get(PATH, limit=5) == b"123456"  # whoever asked compares sizes or digests


def test_a_document_above_its_limit_is_not_even_read(local, monkeypatch):
    local.put(PATH, b"12345")
    monkeypatch.setattr(os, "read", fail_with(errno.EIO))
    with pytest.raises(Damaged):
        local.get(PATH, limit=4)


def test_a_root_that_is_a_file_raises_and_stays_a_file(local, root):
    root.write_bytes(b"not a folder")
    for verb in (
        lambda: local.get(PATH),
        lambda: local.put(PATH, b"content"),
        lambda: local.put(PATH, b"content", create=True),
        lambda: local.stat(PATH),
        lambda: list(local.list("v1/manifests")),
        lambda: local.delete(PATH),
        lambda: local.delete(PATH, expect=b""),
        lambda: local.try_lock("x"),
    ):
        with pytest.raises(OSError):
            verb()
    assert root.read_bytes() == b"not a folder"


def test_a_root_that_was_removed_is_made_again_and_tagged_again(local, root):
    local.put(PATH, b"content")
    shutil.rmtree(root)
    assert local.get(PATH) is None
    local.put(PATH, b"again")
    assert local.get(PATH) == b"again"
    assert (root / "CACHEDIR.TAG").exists()


def test_use_is_marked_at_most_once_an_hour(local, root):
    local.put(PATH, b"content")
    for age, marked in ((2 * HOUR, True), (HOUR / 2, False)):
        then = time.time() - age
        os.utime(root / PATH, (then, then))
        local.get(PATH)
        assert local.stat(PATH).mtime == pytest.approx(then), "not asked for"
        local.get(PATH, touch=True)
        assert (local.stat(PATH).mtime > then + 1) is marked


def test_a_read_succeeds_where_use_cannot_be_marked(local, root, monkeypatch):
    local.put(PATH, b"content")
    os.utime(root / PATH, (1, 1))
    monkeypatch.setattr(os, "utime", fail_with(errno.EROFS))
    assert local.get(PATH, touch=True) == b"content"


def test_an_expected_document_that_changed_is_never_taken_away(local, monkeypatch):
    local.put(PATH, b"of somebody who healed it")
    monkeypatch.setattr(os, "rename", fail_with(errno.EIO))
    assert local.delete(PATH, expect=b"damaged") is False
    assert local.get(PATH) == b"of somebody who healed it"


@pytest.mark.parametrize("links", [True, False])
def test_a_document_that_changes_just_before_it_is_deleted_comes_back(local, monkeypatch, links):
    local.put(PATH, b"damaged")
    rename = os.rename

    def heal_then_rename(source, target):
        local.put(PATH, b"healed")
        rename(source, target)

    monkeypatch.setattr(os, "rename", heal_then_rename)
    if not links:
        monkeypatch.setattr(os, "link", fail_with(errno.EPERM))
    assert local.delete(PATH, expect=b"damaged") is False
    assert local.get(PATH) == b"healed"
    assert [entry.path for entry in local.everything("v1")] == [PATH]


def test_no_descriptor_is_left_open(local):
    local.put(PATH, b"content")
    before = os.listdir("/dev/fd")
    for number in range(30):
        local.put(PATH, b"content")
        local.put(PATH, b"content", create=True)
        local.get(PATH, touch=True)
        with pytest.raises(Damaged):
            local.get(PATH, limit=1)
        local.try_lock(f"lock-{number}").release()
    assert len(os.listdir("/dev/fd")) == len(before)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: os.symlink("/dev/zero", path)])
def test_what_is_no_file_is_no_document_and_nobody_waits_for_it(local, root, make):
    os.makedirs(root / "v1")
    make(root / "v1/document")
    with pytest.raises(Damaged) as damage:
        local.get("v1/document")
    assert damage.value.kind == "no-file"


def test_what_is_there_already_is_not_written_again_but_as_young_as_if_it_were(local, root):
    local.put(PATH, b"the same")
    before = (root / PATH).stat()
    os.utime(root / PATH, (1, 1))
    assert local.put(PATH, b"the same") is True
    after = (root / PATH).stat()
    assert after.st_ino == before.st_ino
    assert after.st_mtime >= before.st_mtime


@pytest.mark.parametrize("held", [b"the sane", b"the same and more", b""])
def test_what_is_there_and_is_something_else_is_replaced(local, root, held):
    local.put(PATH, held)
    local.put(PATH, b"the same")
    assert local.get(PATH) == b"the same"


def test_a_link_is_replaced_by_a_file_even_if_it_leads_to_the_same(local, root, tmp_path):
    local.put(PATH, b"")
    (root / PATH).unlink()
    (tmp_path / "outside").write_bytes(b"the same")
    (root / PATH).symlink_to(tmp_path / "outside")
    local.put(PATH, b"the same")
    assert not (root / PATH).is_symlink()


def test_what_is_removed_while_it_is_looked_at_is_written(local, root, monkeypatch):
    local.put(PATH, b"the same")
    renew = os.utime

    def removed(fd):
        renew(fd)
        (root / PATH).unlink()

    monkeypatch.setattr(os, "utime", removed)
    local.put(PATH, b"the same")
    assert (root / PATH).read_bytes() == b"the same"
