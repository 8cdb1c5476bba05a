from hypothesis import given
from hypothesis import strategies as st

from stepaudio_cas.identity.digest import digest_bytes
from stepaudio_cas.maintenance.plan import Bounds, Fate, Plan, Row
from stepaudio_cas.runtime.keeper import GRACE

NOW = 1_000_000.0
STAY = [Fate.PINNED, Fate.RECENT, Fate.OTHER, Fate.FOREIGN]
OBJECTS = [digest_bytes(b"%d" % n) for n in range(6)]

entries = st.lists(
    st.builds(
        dict,
        object=st.sampled_from(range(len(OBJECTS))),
        size=st.integers(1, 50),
        used=st.integers(0, 40).map(lambda n: NOW - 100 * n),
        seconds=st.sampled_from([0.0, 0.5, 1.0, 8.0]),
        model=st.sampled_from(["", "aa11", "aa22", "bb33"]),
        fate=st.sampled_from([Fate.FREE] * 4 + STAY),
    ),
    max_size=12,
)
some_bounds = st.builds(
    Bounds,
    max_size=st.none() | st.integers(0, 3000),
    max_age=st.none() | st.integers(0, 5000),
    max_entries=st.none() | st.integers(0, 12),
    models=st.sampled_from([(), ("aa",), ("aa11", "bb33")]),
    by_value=st.booleans(),
)
object_sizes = st.lists(st.integers(1, 500), min_size=len(OBJECTS), max_size=len(OBJECTS))


def make_plan(rows, sizes, bounds):
    plan = Plan(NOW)
    for number, row in enumerate(rows):
        plan.add(
            Row(number, 0, row["size"], row["used"], int(OBJECTS[row["object"]][:16], 16),
                row["seconds"], row["model"], row["fate"])
        )  # fmt: skip
    plan.refer()
    for number in {row["object"] for row in rows}:
        plan.add_object(OBJECTS[number], sizes[number], NOW - 10 * GRACE)
    plan.decide(bounds)
    return plan


def bytes_of(rows, sizes):
    """What these entries and their objects take."""
    return sum(r["size"] for r in rows) + sum(sizes[n] for n in {r["object"] for r in rows})


def usefulness(row, sizes, bounds):
    value = row["seconds"] / (row["size"] + sizes[row["object"]]) if bounds.by_value else 0
    return int(value * 1e9), row["used"]


def chosen_slowly(rows, sizes, bounds):
    """Which entries go, worked out in the most obvious way."""
    gone = set()
    for number, row in enumerate(rows):
        old = bounds.max_age is not None and row["used"] < NOW - bounds.max_age
        other = bounds.models and row["model"] and not row["model"].startswith(bounds.models)
        if row["fate"] is Fate.FREE and (old or other):
            gone.add(number)
    order = sorted(range(len(rows)), key=lambda n: (usefulness(rows[n], sizes, bounds), n))
    for number in order:
        left = [r for n, r in enumerate(rows) if n not in gone and r["fate"] is not Fate.OTHER]
        many = bounds.max_entries is not None and len(left) > bounds.max_entries
        large = bounds.max_size is not None and bytes_of(left, sizes) > bounds.max_size
        if (many or large) and number not in gone and rows[number]["fate"] is Fate.FREE:
            gone.add(number)
    return gone


@given(entries, object_sizes, some_bounds)
def test_a_plan_is_what_the_most_obvious_way_comes_to(rows, sizes, bounds):
    plan = make_plan(rows, sizes, bounds)
    gone = {number for number, fate in enumerate(plan.fates) if fate >= Fate.AGE}
    assert gone == chosen_slowly(rows, sizes, bounds)
    stay = [row for number, row in enumerate(rows) if number not in gone]
    assert plan.going.entries == len(gone)
    assert plan.going.bytes == bytes_of(rows, sizes) - bytes_of(stay, sizes)
    assert plan.going.objects == len({r["object"] for r in rows} - {r["object"] for r in stay})


@given(entries, object_sizes, some_bounds)
def test_what_stays_is_within_the_bounds_or_may_not_go(rows, sizes, bounds):
    plan = make_plan(rows, sizes, bounds)
    missed, large = plan.short_of(bounds)
    if missed or large:
        assert Fate.FREE not in plan.fates
    for number, row in enumerate(rows):
        if row["fate"] is not Fate.FREE:
            assert plan.fates[number] == row["fate"]


@given(entries, object_sizes, some_bounds, st.data())
def test_an_object_goes_with_the_last_entry_that_has_it(rows, sizes, bounds, data):
    plan = make_plan(rows, sizes, bounds)
    gone = {number for number, fate in enumerate(plan.fates) if fate >= Fate.AGE}
    spared = data.draw(st.sets(st.sampled_from(sorted(gone)))) if gone else set()
    plan.restore()
    alone = {rows[number]["object"] for number in sorted(gone - spared) if plan.removed(number)}
    stay = [row for number, row in enumerate(rows) if number not in gone - spared]
    assert alone == {r["object"] for r in rows} - {r["object"] for r in stay}


def test_entries_are_found_by_their_shard():
    plan = Plan(NOW)
    keys = [0x00FF << 48, 0x01AA << 48, 0x01BB << 48, 0xFF00 << 48]
    for key in keys:
        plan.add(Row(key, 0, 1, 0.0, 0, 0.0, ""))
    plan.refer()
    plan.decide(Bounds(max_entries=0))
    assert plan.goers("01") == {keys[1]: 1, keys[2]: 2}
    assert plan.goers("ff") == {keys[3]: 3}
    assert plan.goers("02") == {}
    assert plan.has(keys[1])
    assert not plan.has(keys[1] + 1)


def test_numbers_that_no_clock_or_encode_gives_do_no_harm():
    plan = Plan(NOW)
    for number, seconds in enumerate([float("nan"), float("inf"), -1.0, 1e300]):
        plan.add(Row(number, 0, 1 << 40, -1e9 if number else 1e12, 0, seconds, ""))
    plan.refer()
    plan.decide(Bounds(max_entries=1, by_value=True))
    assert plan.going.entries == 3
