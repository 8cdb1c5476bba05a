import os
import threading

import pytest

from tests.support.values import Computation, counters, recipe, tokens

OLD, NEW = ([1], [1]), ([2], [2])


@pytest.fixture
def filled(open_cache):
    """Fill the store of `root` as another process did."""
    with open_cache() as cache:
        cache.put(recipe(), OLD)


def picture(root):
    """Everything about every file below `root`, but when it was last read."""
    found = {}
    for folder, _, files in os.walk(root):
        for name in ["", *files]:
            status = os.stat(os.path.join(folder, name))
            found[os.path.join(folder, name)] = (status.st_size, status.st_mtime_ns, status.st_ino)
    return found


def test_ro_returns_what_is_there(filled, open_cache):
    assert open_cache(mode="ro").get_or_compute(recipe(), Computation(NEW)) == OLD


def test_ro_writes_nothing_at_all(filled, open_cache, root):
    for path in sorted(root.rglob("*")):
        os.utime(path, (1_000_000, 1_000_000))  # old enough to be marked as used
    before = picture(root)
    with open_cache(mode="ro", memory="0", verify="1", max_size="1", ttl="1") as cache:
        function = cache.cached(version="1", files=[__file__])(lambda path: path.name)
        function(root / "CACHEDIR.TAG")
        for number in range(3):
            cache.get_or_compute(recipe(number), Computation())
        cache.get_many([recipe(5), recipe()], lambda positions: [[0]] * len(positions))
        cache.put(recipe(9), [1])
        cache.flush()
    assert picture(root) == before


def test_ro_on_a_store_that_is_not_there_makes_none(open_cache, root):
    with open_cache(mode="ro") as cache:
        assert cache.get_or_compute(recipe(), Computation()) == tokens()
    assert not root.exists()


def test_ro_keeps_new_values_in_memory(open_cache):
    cache, compute = open_cache(mode="ro"), Computation()
    for _ in range(2):
        assert cache.get_or_compute(recipe(), compute) == tokens()
    assert compute.runs == 1
    assert counters(cache) == {"miss": 1, "hit.memory": 1}


def test_refresh_computes_anew_and_writes_over_what_is_there(filled, open_cache):
    compute = Computation(NEW)
    with open_cache(mode="refresh") as cache:
        assert cache.get_or_compute(recipe(), compute) == NEW
        assert cache.get_or_compute(recipe(), compute) == NEW
        assert open_cache().get(recipe()) == NEW
        assert cache.get_many([recipe()], lambda _: [[3]]) == [[3]]
        assert cache.get(recipe(), "nothing") == "nothing"
    assert compute.runs == 2
    assert open_cache().get(recipe()) == [3]


def test_off_computes_and_touches_nothing(filled, open_cache, root, tmp_path):
    before, threads = picture(tmp_path), threading.active_count()
    with open_cache(mode="off") as cache:
        compute = Computation(NEW)
        for _ in range(2):
            assert cache.get_or_compute(recipe(), compute) == NEW
        assert cache.get_many([recipe()], lambda _: [NEW]) == [NEW]
        assert cache.put(recipe(1), [1]) == [1]
        assert cache.get(recipe(), "nothing") == "nothing"
        assert cache.cached(version="1")(lambda number: number)(3) == 3
        assert cache.peek(recipe().key) is None
        assert threading.active_count() == threads
    assert compute.runs == 2
    assert counters(cache) == {}
    assert picture(tmp_path) == before


def test_a_cache_that_is_only_opened_starts_nothing_and_writes_nothing(open_cache, root):
    threads = threading.active_count()
    open_cache(max_size="1GB", verify="0.5")
    assert threading.active_count() == threads
    assert not root.exists()


def test_without_a_memory_tier_every_hit_comes_from_the_store(filled, open_cache):
    cache = open_cache(memory="0")
    for _ in range(2):
        assert cache.get_or_compute(recipe(), Computation(NEW)) == OLD
    assert counters(cache) == {"hit.disk": 2}
