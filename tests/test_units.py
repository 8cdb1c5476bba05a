import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepaudio_cas.units import (
    Lifetimes,
    lifetimes,
    parse_bytes,
    parse_lifetimes,
    parse_seconds,
    show_bytes,
    show_seconds,
    show_spread,
)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0), ("512", 512), ("512B", 512), ("1k", 1000), ("256MB", 256_000_000),
        ("256mb", 256_000_000), ("1M", 1_000_000), ("1.5GiB", 3 << 29), ("2gib", 1 << 31),
        ("1 TB", 10**12), (" 10 KiB ", 10240), ("1T", 10**12), ("1TiB", 1 << 40), ("0.5kb", 500),
        ("1G", 10**9), ("1GB", 10**9), ("1MiB", 1 << 20),
    ],
)  # fmt: skip
def test_a_size_as_people_write_it(text, number):
    assert parse_bytes(text) == number
    assert type(parse_bytes(text)) is int


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0), ("90", 90), ("1.5", 1.5), ("30s", 30), ("15m", 900), ("24h", 86400),
        ("30d", 2592000), ("2w", 1209600), ("1y", 31536000), ("1 D", 86400), ("0.5h", 1800),
    ],
)  # fmt: skip
def test_a_duration_as_people_write_it(text, number):
    assert parse_seconds(text) == number


WRONG = ["", " ", "-1", "+1", "1e3", "a", "MB", "1,5", "1.", ".5", "1 2", "0x10", "inf", "nan",
         "1_000", "1MB 2", "1 M B", "9" * 400]  # fmt: skip


@pytest.mark.parametrize("text", [*WRONG, "1s", "1m2", "1PB", "1MiBs", "1 minute"])
def test_what_is_no_size_says_what_is_allowed(text):
    with pytest.raises(ValueError, match=r"a size such as 512, 256MB or 1\.5GiB") as caught:
        parse_bytes(text)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize("text", [*WRONG, "1MB", "1ms", "1min", "1 day", "1b"])
def test_what_is_no_duration_says_what_is_allowed(text):
    with pytest.raises(ValueError, match="a duration such as 90, 15m, 24h or 30d") as caught:
        parse_seconds(text)
    assert repr(text) in str(caught.value)


@settings(deadline=None)
@given(st.text(max_size=12))
def test_any_text_is_a_number_or_a_value_error(text):
    for parse in (parse_bytes, parse_seconds):
        try:
            assert 0 <= parse(text) < float("inf")
        except ValueError as error:
            assert "such as" in str(error)  # noqa: PT017


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 B"), (999, "999 B"), (1000, "1.0 KB"), (1536, "1.5 KB"), (256_000_000, "256.0 MB"),
        (3_200_000_000, "3.2 GB"), (5e12, "5.0 TB"), (5e15, "5000.0 TB"), (-1500, "-1.5 KB"),
    ],
)  # fmt: skip
def test_a_size_for_people(number, text):
    assert show_bytes(number) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 µs"), (2.5e-5, "25 µs"), (0.006, "6.0 ms"), (0.0123, "12.3 ms"), (1, "1.00 s"),
        (1.658, "1.66 s"), (119, "119.00 s"), (120, "2.0 min"), (5400, "90.0 min"),
        (7200, "2.0 h"), (360_000, "100.0 h"),
    ],
)  # fmt: skip
def test_a_duration_for_people(seconds, text):
    assert show_seconds(seconds) == text


@pytest.mark.parametrize(
    ("text", "others", "named"),
    [
        ("30d", 2592000, {}),
        ("24h,funasr=2h", 86400, {"funasr": 7200}),
        (" funasr = 2h , 1d ", 86400, {"funasr": 7200}),
        ("funasr=2h,sensevoice=1h", None, {"funasr": 7200, "sensevoice": 3600}),
    ],
)
def test_lifetimes_as_people_write_them(text, others, named):
    found = lifetimes(parse_lifetimes(text))
    assert found.others == others
    assert dict(found.plugins) == named


@pytest.mark.parametrize("text", ["", "1h,2h", "a=1h,a=2h", "=1h", "a=", "a=soon", "a", "1h,"])
def test_other_lifetimes_are_refused(text):
    with pytest.raises(ValueError, match="duration"):
        parse_lifetimes(text)


def test_a_lifetime_is_that_of_the_longest_name_that_fits():
    found = Lifetimes(10.0, (("a", 20.0), ("a.b", 5.0)))
    plugins = ("", "a", "a.b", "a.b.c/1", "a.c", "ab", "b.a")
    assert [found.of(plugin) for plugin in plugins] == [10, 20, 5, 5, 20, 10, 10]


def test_the_longest_lifetime_is_for_ever_if_some_entries_have_none():
    assert Lifetimes(10.0, (("a", 20.0),)).longest == 20
    assert Lifetimes(30.0, (("a", 20.0),)).longest == 30
    assert Lifetimes(None, (("a", 20.0),)).longest is None
    assert [
        bool(found) for found in (Lifetimes(), Lifetimes(1.0), Lifetimes(None, (("a", 1.0),)))
    ] == [
        *(False, True),
        True,
    ]


def test_a_spread_is_written_in_one_unit():
    assert show_spread(0.1094, 0.0862, 1.02) == "109.4 ms (86.2-1020)"
    assert show_spread(0.0007, 0.000646, 0.001) == "700 µs (646-1000)"
    assert show_spread(7.02, 3.16, 13.8) == "7.02 s (3.2-13.8)"
