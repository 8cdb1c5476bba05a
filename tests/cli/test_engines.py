"""What is refused before any Ray cluster is asked."""

import pytest

from stepaudio_cas.cli.engines import cluster
from stepaudio_cas.cli.main import main
from stepaudio_cas.prewarm.ray_cluster import Cluster


@pytest.fixture
def prewarm(small, capfd):
    voice = small.voice("a.wav", "la")

    def run(*words, store, place=voice):
        words = ["prewarm", place, *words, "--host", small.spec]
        code = main(["--store", str(store), *words])
        return code, *capfd.readouterr()

    return run


JOINED = ("--engine", "ray", "--ray-address", "head:6379")


@pytest.mark.parametrize(
    ("store", "more", "text"),
    [
        ("/cache", (), "/cache: each machine of the cluster would fill one of its own"),
        ("1", (), "default: each machine of the cluster would fill one of its own"),
        ("file:///cache", (), "name a shared store, such as s3://…, or --shared-disk"),
        ("memory://a,/cache", (), "and nobody would find it; name a shared store"),
        ("memory://a", ("--shared-disk",), "name a shared store, such as s3://…"),
        ("s3://bucket/x", (), "a.wav: the other machines of the cluster do not have it"),
    ],
)
def test_what_other_machines_do_not_reach_is_refused(store, more, text, prewarm):
    code, out, err = prewarm(*JOINED, *more, store=store)
    assert (code, out) == (2, "")
    assert text in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("more", ["--cpus=2", "--gpus=1", "--ray-address=a:1", "--shared-disk"])
def test_what_is_for_ray_is_refused_without_it(more, prewarm, root):
    code, _, err = prewarm(more, store=root)
    assert code == 2
    assert f"{more.partition('=')[0]} is for --engine ray" in err


def test_the_ray_client_is_refused_with_what_to_do(prewarm, root):
    code, _, err = prewarm("--engine=ray", "--ray-address=ray://head:10001", store=root)
    assert code == 2
    assert "run this on a machine of the cluster" in err


@pytest.mark.parametrize("share", ["-1", "1.5", "many", "nan", "inf"])
def test_a_share_is_a_whole_number_or_a_part_of_one(share, prewarm, root, capfd):
    with pytest.raises(SystemExit) as end:
        prewarm("--engine=ray", f"--gpus={share}", store=root)
    assert end.value.code == 2
    assert "is neither a whole number nor a part of one" in capfd.readouterr().err


class Options:
    engine = "ray"
    ray_address = cpus = gpus = shared_disk = None


@pytest.mark.parametrize(
    ("given", "variable", "found"),
    [
        ({}, "", Cluster()),
        ({}, "head:6379", Cluster("head:6379")),
        ({"ray_address": "local"}, "head:6379", Cluster()),
        ({"ray_address": "other:1", "gpus": 0.5}, "head:6379", Cluster("other:1", 1.0, 0.5)),
        ({"cpus": 0.0, "gpus": 2.0}, "", Cluster(None, 0.0, 2.0)),
        ({"engine": "local"}, "head:6379", None),
    ],
)
def test_which_cluster_and_how_much_of_it(given, variable, found, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", variable)
    options = Options()
    for name, value in given.items():
        setattr(options, name, value)
    assert cluster(options) == found


def test_only_the_shared_stores_of_a_chain_are_filled(small, monkeypatch):
    from stepaudio_cas.cli import context, engines
    from stepaudio_cas.cli.hosts import Opening

    settings = context.read("/cache,s3://b/x,memory://m,redis://h/0").settings
    opening = engines.shared(Opening(None, None), settings, shared_disk=None)
    assert opening.store == "s3://b/x,redis://h/0"
    opening = engines.shared(Opening(None, None), settings, shared_disk=True)
    assert opening.store == "/cache,s3://b/x,redis://h/0"
