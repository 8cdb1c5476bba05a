"""Creating a file only if it is not there, on file systems good and bad at links."""

import errno
import os
import threading

import pytest

from stepaudio_cas.store import local as module
from stepaudio_cas.store.layout import manifest_path
from stepaudio_cas.store.probe import probe
from stepaudio_cas.store.store import Store
from tests.support.processes import in_children, in_threads
from tests.support.values import entry

PATH = "v1/manifests/ab/abcd.json"


@pytest.fixture(params=[errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS])
def no_links(request, monkeypatch):
    """A file system without hard links, as each of them says it."""

    def link(source, target):
        raise OSError(request.param, os.strerror(request.param))

    monkeypatch.setattr(os, "link", link)


def test_without_links_create_still_refuses_what_is_there(local, no_links):
    assert local.put(PATH, b"first", create=True) is True
    assert local.put(PATH, b"second", create=True) is False
    assert local.get(PATH) == b"first"
    assert [entry.path for entry in local.everything("v1")] == [PATH]


def test_without_links_one_of_many_threads_wins(local, no_links):
    for number in range(10):
        path = f"v1/manifests/ab/{number}.json"
        won = in_threads(8, lambda n, p=path: local.put(p, b"%d" % n, create=True))
        assert won.count(True) == 1
        assert local.get(path) == b"%d" % won.index(True)


def test_without_links_one_of_many_processes_wins(local, no_links):
    won = in_children(6, lambda n: [local.put(f"{PATH}{i}", b"%d" % n, create=True)
                                    for i in range(50)])  # fmt: skip
    for i, answers in enumerate(zip(*won, strict=True)):
        assert answers.count(True) == 1
        assert local.get(f"{PATH}{i}") == b"%d" % answers.index(True)


def test_with_links_one_of_many_processes_wins(local):
    won = in_children(6, lambda n: [local.put(f"{PATH}{i}", b"%d" % n, create=True)
                                    for i in range(50)])  # fmt: skip
    for i, answers in enumerate(zip(*won, strict=True)):
        assert answers.count(True) == 1
        assert local.get(f"{PATH}{i}") == b"%d" % answers.index(True)


def test_without_links_the_probe_still_finds_an_atomic_create(local, no_links):
    assert probe(local).create == "atomic"


def test_a_claim_without_its_content_yet_is_not_taken_for_a_damaged_entry(
    local, monkeypatch, no_links
):
    claimed, looked = threading.Event(), threading.Event()
    replace, get = os.replace, local.get

    def replace_after_the_other_has_looked(source, target):
        if threading.current_thread().name == "first" and target.endswith(".json"):
            claimed.set()
            assert looked.wait(60)
        replace(source, target)

    def look(path, **options):
        content = get(path, **options)
        if content == b"":
            looked.set()
        return content

    monkeypatch.setattr(os, "replace", replace_after_the_other_has_looked)
    monkeypatch.setattr(local, "get", look)
    monkeypatch.setattr("stepaudio_cas.store.store._PAUSES", (0.01,) * 1000)
    standing = {}

    def commit(name):
        manifest, blob = entry(0, value=name)
        standing[name] = Store(local).commit(manifest, blob)

    first = threading.Thread(target=commit, args=("first",), name="first")
    first.start()
    assert claimed.wait(60)
    commit("second")
    first.join()
    assert standing["first"].blob == standing["second"].blob == entry(0, value="first")[1]


def test_a_claim_whose_writer_has_died_is_healed(local):
    manifest, blob = entry()
    local.put(manifest_path(manifest.key), b"")
    assert Store(local).commit(manifest, blob).manifest is manifest
    assert Store(local).read(manifest.key).blob == blob


def test_other_failures_of_a_link_are_raised(local, monkeypatch):
    def link(source, target):
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "link", link)
    with pytest.raises(OSError, match="full"):
        local.put(PATH, b"content", create=True)
    assert local.get(PATH) is None


def test_a_link_that_was_made_although_its_answer_was_lost_is_a_win(local, monkeypatch):
    link = os.link

    def link_and_lose_the_answer(source, target):
        link(source, target)
        raise FileExistsError(errno.EEXIST, "retransmitted")

    monkeypatch.setattr(os, "link", link_and_lose_the_answer)
    assert local.put(PATH, b"ours", create=True) is True
    assert local.get(PATH) == b"ours"


def test_a_link_that_lost_the_race_is_a_loss(local, monkeypatch):
    link = os.link

    def another_is_faster(source, target):
        with open(target, "xb") as file:
            file.write(b"theirs")
        link(source, target)

    monkeypatch.setattr(os, "link", another_is_faster)
    assert local.put(PATH, b"ours", create=True) is False
    assert local.get(PATH) == b"theirs"


def test_a_dangling_link_in_the_way_is_something_there(local, root):
    local.put(PATH, b"makes the folders")
    os.symlink("nowhere", root / "v1/manifests/ab/link.json")
    assert local.put("v1/manifests/ab/link.json", b"content", create=True) is False


def test_a_reader_in_a_claim_sees_an_empty_document_and_never_half_of_one(
    local, monkeypatch, no_links
):
    seen, replace = [], os.replace

    def look_then_replace(source, target):
        seen.append(local.get(PATH))
        replace(source, target)

    monkeypatch.setattr(module.os, "replace", look_then_replace)
    local.put(PATH, b"content", create=True)
    assert seen == [b""]
    assert local.get(PATH) == b"content"
