"""What every backend has to do. The names of the tests are the contract of `Backend`."""

import time

import pytest

from stepaudio_cas.errors import Damaged
from stepaudio_cas.store.probe import probe
from tests.support.backends import ATOMIC
from tests.support.processes import in_child, in_threads

PATH = "v1/objects/ab/abcd"


def paths(backend, prefix):
    return sorted(entry.path for entry in backend.list(prefix))


def test_what_was_put_is_got(backend):
    assert backend.put(PATH, b"content") is True
    assert backend.get(PATH) == b"content"
    assert type(backend.get(PATH)) is bytes


def test_a_missing_document_is_none_for_get_and_stat_and_false_for_delete(backend):
    assert backend.get(PATH) is None
    assert backend.stat(PATH) is None
    assert backend.delete(PATH) is False
    assert backend.delete(PATH, expect=b"") is False


def test_put_replaces(backend):
    backend.put(PATH, b"a longer first content")
    assert backend.put(PATH, b"second") is True
    assert backend.get(PATH) == b"second"


def test_create_refuses_what_is_there_and_leaves_it(backend):
    assert backend.put(PATH, b"first", create=True) is True
    assert backend.put(PATH, b"second", create=True) is False
    assert backend.get(PATH) == b"first"


def test_create_refuses_an_empty_document_too(backend):
    backend.put(PATH, b"")
    assert backend.put(PATH, b"second", create=True) is False
    assert backend.get(PATH) == b""


def test_an_empty_document_is_a_document(backend):
    assert backend.put(PATH, b"") is True
    assert backend.get(PATH) == b""
    assert backend.stat(PATH).size == 0
    assert paths(backend, "v1/objects") == [PATH]
    assert backend.delete(PATH, expect=b"") is True


def test_every_byte_and_a_large_document_come_back(backend):
    content = bytes(range(256)) * 20_000
    backend.put(PATH, content)
    assert backend.get(PATH) == content


def test_a_document_at_its_limit_is_got_and_a_longer_one_is_damaged(backend):
    backend.put(PATH, b"12345")
    assert backend.get(PATH, limit=5) == b"12345"
    with pytest.raises(Damaged) as damage:
        backend.get(PATH, limit=4)
    assert damage.value.kind == "too-large"


def test_stat_tells_path_size_and_a_recent_time(backend):
    before = time.time()
    backend.put(PATH, b"12345")
    entry = backend.stat(PATH)
    assert (entry.path, entry.size) == (PATH, 5)
    assert before - 5 < entry.mtime < time.time() + 5


def test_listing_yields_every_document_below_a_folder_and_no_other(backend):
    wanted = ["v1/objects/ab/one", "v1/objects/ab/two", "v1/objects/cd/three"]
    for path in [*wanted, "v1/objects-not/ab/four", "v1/manifests/ab/five"]:
        backend.put(path, path.encode())
    found = sorted(backend.list("v1/objects"))
    assert [entry.path for entry in found] == wanted
    assert [entry.size for entry in found] == [len(path) for path in wanted]
    assert all(abs(entry.mtime - time.time()) < 60 for entry in found)


def test_listing_tells_the_same_as_stat(backend):
    backend.put(PATH, b"12345")
    [found] = backend.list("v1/objects")
    assert found == backend.stat(PATH)


def test_a_folder_that_is_not_there_is_empty(backend):
    assert list(backend.list("v1/objects")) == []
    backend.put(PATH, b"")
    assert list(backend.list("v1/pins")) == []


def test_listing_goes_on_while_documents_are_deleted(backend):
    for number in range(20):
        backend.put(f"v1/objects/{number:02x}/x", b"")
    for entry in backend.list("v1/objects"):
        assert backend.delete(entry.path)
    assert list(backend.list("v1/objects")) == []


def test_delete_removes_once(backend):
    backend.put(PATH, b"content")
    assert backend.delete(PATH) is True
    assert backend.get(PATH) is None
    assert backend.delete(PATH) is False


def test_delete_of_what_is_expected_removes_it(backend):
    backend.put(PATH, b"expected")
    assert backend.delete(PATH, expect=b"expected") is True
    assert backend.get(PATH) is None


def test_delete_of_something_else_than_expected_leaves_it(backend):
    backend.put(PATH, b"another")
    assert backend.delete(PATH, expect=b"expected") is False
    assert backend.get(PATH) == b"another"
    assert paths(backend, "v1/objects") == [PATH]


def test_a_deleted_document_can_be_created_again(backend):
    backend.put(PATH, b"first", create=True)
    backend.delete(PATH)
    assert backend.put(PATH, b"second", create=True) is True
    assert backend.get(PATH) == b"second"


def test_touch_changes_no_content(backend):
    backend.put(PATH, b"content")
    assert backend.get(PATH, touch=True) == b"content"
    assert backend.get(PATH) == b"content"


def test_two_instances_see_the_same_documents(connect):
    connect().put(PATH, b"content")
    assert connect().get(PATH) == b"content"
    assert connect().put(PATH, b"other", create=True) is False


def test_a_url_and_a_name_for_people(backend):
    assert "://" in backend.url
    assert type(backend).__name__ in repr(backend)


@pytest.mark.parametrize("connect", ATOMIC, indirect=True)
def test_of_many_threads_that_create_one_document_one_wins(connect):
    backend = connect()
    assert probe(backend).create == "atomic"
    instances = [connect() for _ in range(8)]
    for number in range(25 if backend.url.startswith(("file:", "memory:")) else 3):
        path = f"v1/objects/ab/{number}"
        won = in_threads(8, lambda n, p=path: instances[n].put(p, b"%d" % n, create=True))
        assert won.count(True) == 1
        assert backend.get(path) == b"%d" % won.index(True)


def test_threads_put_list_and_delete_at_once(connect):
    instances = [connect() for _ in range(6)]

    def work(number):
        backend = instances[number]
        for turn in range(60):
            path = f"v1/objects/{number:02x}/{turn}"
            assert backend.put(path, path.encode(), create=bool(turn % 2))
            assert backend.get(path) == path.encode()
            assert path in paths(backend, "v1/objects")
            if turn % 3 == 0:
                assert backend.delete(path, expect=path.encode())

    in_threads(len(instances), work)
    assert len(paths(instances[0], "v1/objects")) == len(instances) * 40


@pytest.mark.parametrize("connect", ATOMIC, indirect=True)
def test_readers_see_a_whole_document_whatever_is_put_over_it(connect):
    contents = [bytes([n]) * 300_000 for n in range(4)]
    instances = [connect() for _ in range(4)]
    instances[0].put(PATH, contents[0])

    def work(number):
        for _ in range(40):
            if number:
                instances[number].put(PATH, contents[number])
            assert instances[number].get(PATH) in contents

    in_threads(len(instances), work)


def test_a_forked_child_goes_on_with_the_same_backend(backend):
    backend.put(PATH, b"of the parent")

    def child():
        seen = backend.get(PATH) == b"of the parent"
        created = backend.put("v1/objects/cd/child", b"of the child", create=True)
        return (
            seen,
            created,
            backend.delete(PATH, expect=b"of the parent"),
            len(list(backend.list("v1"))),
        )

    assert in_child(child) == [True, True, True, 1]
