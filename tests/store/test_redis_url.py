import pytest

from stepaudio_cas.errors import SettingError
from stepaudio_cas.settings import split_stores
from stepaudio_cas.store.redis_url import PREFIX, TIMEOUT, parse_place
from stepaudio_cas.store.urls import open_backend


def test_the_shortest_url_has_every_default():
    place = parse_place("redis://cache.example")
    assert place.hosts == (("cache.example", 6379),)
    assert (place.kind, place.db, place.prefix, place.ttl) == ("", 0, PREFIX, None)
    assert (place.timeout, place.tls, place.connection) == (TIMEOUT, False, {})
    assert place.shown == "redis://cache.example"


def test_everything_can_be_said_in_the_url():
    place = parse_place(
        "rediss://me:p%40ss@[::1]:7000/3?prefix=v:&ttl=24h&timeout=0.2s&pool=4&ssl_cert_reqs=none"
    )
    assert place.hosts == (("::1", 7000),)
    assert (place.db, place.prefix, place.ttl) == (3, "v:", 86400)
    assert (place.timeout, place.pool) == (0.2, 4)
    assert place.tls
    assert place.connection == {"username": "me", "password": "p@ss", "ssl_cert_reqs": "none"}


def test_a_password_may_stand_without_a_user():
    assert parse_place("redis://:secret@h").connection == {"password": "secret"}


def test_sentinel_and_cluster_have_several_hosts():
    sentinel = parse_place("redis+sentinel://a,b:1/voices/2?sentinel_password=s")
    assert sentinel.hosts == (("a", 26379), ("b", 1))
    assert (sentinel.master, sentinel.db, sentinel.sentinel) == ("voices", 2, {"password": "s"})
    cluster = parse_place("rediss+cluster://a:7000,b:7001/0")
    assert (cluster.kind, cluster.tls) == ("cluster", True)
    assert cluster.hosts == (("a", 7000), ("b", 7001))


@pytest.mark.parametrize(
    "url",
    [
        "redis://me:s3cret@h/1",
        "redis://:s3cret@h?prefix=a",
        "redis+sentinel://a:1,b:2/voices?prefix=a&sentinel_password=s3cret",
        "redis://me:s3cret@h/x",
        "redis://me:s3cret@h:port",
        "redis+tls://:s3cret@h",
        "redis://:s3cret@h?what=1",
    ],
)
def test_no_secret_is_shown(url):
    try:
        shown = open_backend(url).url
    except SettingError as error:
        shown = str(error)
    assert "s3cret" not in shown
    assert shown.startswith(url.partition("//")[0])


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("redis://h/voices", "'voices' is no number of a database"),
        ("redis://h/1/2", "'1/2' is no number of a database"),
        ("redis://h:0", "'h:0' is no host:port"),
        ("redis://h:70000", "is no host:port"),
        ("redis://:1", "is no host:port"),
        ("redis://h?ttl=soon", "ttl: 'soon' is not a duration"),
        ("redis://h?ttl=0", "ttl: '0' is too short"),
        ("redis://h?pool=0", "pool: '0' is no number of connections"),
        ("redis://h?what=1", "no option 'what'; there are prefix, ttl, timeout, pool"),
        ("redis://h?ssl_cert_reqs=none", "no option 'ssl_cert_reqs'"),
        ("rediss://h?ssl_cert_reqs=maybe", "is not one of required, none"),
        ("redis+sentinel://h:1", "names no master"),
        ("redis+cluster://h:1/2", "a cluster has database 0 only"),
        ("redis+tls://h", "no such kind of Redis; there are redis, redis+cluster"),
    ],
)
def test_what_makes_no_sense_is_a_setting_error(url, said):
    with pytest.raises(SettingError) as error:
        open_backend(url)
    assert said in str(error.value)
    assert str(error.value).startswith(f"{url}: ")


def test_without_the_package_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "stepaudio_cas.store.redis", None)
    with pytest.raises(SettingError, match=r"pip install 'stepaudio-cas\[redis\]'"):
        open_backend("redis://h")


@pytest.mark.parametrize(
    ("text", "stores"),
    [
        (
            "/near,redis+sentinel://a:1,b:2,c:3/voices/0,s3://bucket/x",
            ("/near", "redis+sentinel://a:1,b:2,c:3/voices/0", "s3://bucket/x"),
        ),
        ("redis+cluster://a:1,b:2,/far", ("redis+cluster://a:1,b:2", "/far")),
        ("redis+cluster://a:1, b:2?prefix=x,c:3", ("redis+cluster://a:1,b:2?prefix=x", "c:3")),
        ("redis://a:1,b:2", ("redis://a:1", "b:2")),
        ("redis+cluster://a:1,s3://bucket", ("redis+cluster://a:1", "s3://bucket")),
    ],
)
def test_the_hosts_of_one_redis_stay_together_in_a_chain(text, stores):
    assert split_stores(text) == stores
