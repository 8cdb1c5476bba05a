import pytest

from stepaudio_cas.store import layout
from tests.support.values import Computation, counters, recipe, tokens

OURS, THEIRS = ([1], [1]), ([2], [2])


@pytest.fixture
def signed_by(open_cache, tmp_path):
    """Open the store of `root`, without a memory tier, with the signing keys named."""

    def open_(*keys, **settings):
        path = tmp_path / f"{'-'.join(keys)}.key"
        path.write_text("\n".join(f"a secret of {key}, long enough" for key in keys))
        return open_cache(memory="0", signing_key_file=str(path), **settings)

    return open_


def test_who_has_the_key_reads_what_was_signed_with_it(signed_by):
    assert signed_by("ours").put(recipe(), OURS) == OURS
    assert signed_by("ours").get(recipe()) == OURS


def test_two_owners_of_different_keys_do_not_trust_each_other(signed_by):
    signed_by("theirs").put(recipe(), THEIRS)
    cache = signed_by("ours")
    assert cache.get_or_compute(recipe(), Computation(OURS)) == OURS
    assert counters(cache)["error.signature"] >= 1
    assert "hit.disk" not in counters(cache)


def test_what_somebody_else_has_signed_is_left_as_it_is(signed_by, root):
    signed_by("theirs").put(recipe(), THEIRS)
    path = root / layout.manifest_path(recipe().key)
    before = path.read_bytes()
    signed_by("ours").get_or_compute(recipe(), Computation(OURS))
    signed_by("ours").get_many([recipe()], lambda _: [OURS])
    assert path.read_bytes() == before
    assert signed_by("theirs").get(recipe()) == THEIRS


def test_both_work_side_by_side_on_keys_of_their_own(signed_by):
    for number in range(4):
        signed_by("ours" if number % 2 else "theirs").put(recipe(number), tokens(number))
    assert [signed_by("ours").get(recipe(n)) is not None for n in range(4)] == [False, True] * 2
    assert [signed_by("theirs").get(recipe(n)) is not None for n in range(4)] == [True, False] * 2


def test_an_unsigned_entry_is_a_miss_and_is_replaced_by_a_signed_one(signed_by, open_cache):
    open_cache().put(recipe(), THEIRS)
    cache = signed_by("ours")
    assert cache.get_or_compute(recipe(), Computation(OURS)) == OURS
    assert counters(cache)["error.unsigned"] >= 1
    assert signed_by("ours").get(recipe()) == OURS


def test_an_entry_that_was_tampered_with_is_a_miss(signed_by, open_cache, root):
    signed_by("ours").put(recipe(), OURS)
    open_cache(mode="refresh").put(recipe(), THEIRS)  # by somebody who has no key
    assert signed_by("ours").get(recipe()) is None


def test_who_has_no_key_reads_signed_entries(signed_by, open_cache):
    signed_by("ours").put(recipe(), OURS)
    assert open_cache(memory="0").get(recipe()) == OURS


def test_a_key_is_changed_by_putting_the_new_one_first(signed_by):
    signed_by("old").put(recipe(), OURS)
    both = signed_by("new", "old")
    assert both.get(recipe()) == OURS
    both.put(recipe(1), OURS)
    assert signed_by("new").get(recipe(1)) == OURS
    assert signed_by("old").get(recipe(1)) is None


def test_what_is_promoted_is_signed_with_our_key(signed_by, open_cache, tmp_path):
    key = signed_by("ours")
    key.put(recipe(), OURS)
    near = tmp_path / "near"
    path = str(tmp_path / "ours.key")
    with open_cache(f"{near},{tmp_path / 'store'}", memory="0", signing_key_file=path) as both:
        assert both.get(recipe()) == OURS
    assert open_cache(near, memory="0", signing_key_file=path).get(recipe()) == OURS
