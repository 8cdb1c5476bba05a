"""What is in a store, whole or not, on every backend."""

import threading

import pytest

from stepaudio_cas.artifact.signing import Signer
from stepaudio_cas.maintenance import facts, inventory
from stepaudio_cas.store import layout
from tests.maintenance.stock import Stock
from tests.support.backends import BACKENDS
from tests.support.faulty import FaultyBackend
from tests.support.values import entry


@pytest.fixture(params=BACKENDS)
def stock(request, tmp_path):
    folder = tmp_path / f"inventory-{request.node.name}"
    folder.mkdir()
    return Stock(BACKENDS[request.param](folder))


def test_every_entry_is_found_in_the_order_of_keys(stock):
    added = {stock.add(number).key for number in range(40)}
    found = list(inventory.manifests(stock.backend))
    assert [kept.key for kept in found] == sorted(added)
    assert list(inventory.keys(stock.backend)) == sorted(added)
    assert all(kept.damage is None and kept.manifest.key == kept.key for kept in found)
    assert found[0].size == len(found[0].sealed) + found[0].manifest.size


@pytest.mark.parametrize("digits", [1, 2, 5, 64])
def test_a_beginning_finds_what_begins_so(stock, digits):
    added = {stock.add(number).key for number in range(20)}
    prefix = min(added)[:digits]
    wanted = sorted(key for key in added if key.startswith(prefix))
    assert [kept.key for kept in inventory.manifests(stock.backend, prefix=prefix)] == wanted
    assert list(inventory.keys(stock.backend, prefix)) == wanted


def test_keys_of_one_shard_are_told_apart_by_their_beginning(stock):
    first, second = "abcd1" + "0" * 59, "abcd2" + "0" * 59
    for key in (first, second):
        stock.backend.put(layout.manifest_path(key), b"damaged")
    assert list(inventory.keys(stock.backend, "abcd")) == [first, second]
    assert list(inventory.keys(stock.backend, "abcd2")) == [second]
    assert [kept.key for kept in inventory.manifests(stock.backend, prefix="abcd2")] == [second]


def test_a_damaged_entry_is_found_and_says_how(stock):
    whole, hurt = stock.add(1), stock.add(2)
    stock.damage(hurt)
    found = {kept.key: kept for kept in inventory.manifests(stock.backend)}
    assert found[whole.key].damage is None
    assert found[hurt.key].manifest is None
    assert found[hurt.key].damage.kind == "manifest"
    assert inventory.find(stock.backend, hurt.key).damage.kind == "manifest"


def test_one_entry_is_found_by_its_key(stock):
    manifest = stock.add(1)
    assert inventory.find(stock.backend, manifest.key).manifest == manifest
    assert inventory.find(stock.backend, "0" * 64) is None


def test_objects_and_pins_are_found(stock):
    manifest = stock.add(1)
    stock.backend.put(layout.pin_path(manifest.key), b"")
    shard = manifest.object[:2]
    assert [digest for digest, _ in inventory.objects(stock.backend, shard)] == [manifest.object]
    assert inventory.pinned(stock.backend) == {manifest.key}


def test_what_is_no_manifest_is_left_out(stock):
    stock.backend.put(f"{layout.MANIFESTS}/ab/readme.txt", b"")
    assert list(inventory.manifests(stock.backend)) == []


def test_each_shard_is_a_step(stock):
    steps = []
    list(inventory.manifests(stock.backend, step=steps.append))
    assert steps == list(layout.SHARDS)


def test_one_that_goes_meanwhile_is_left_out():
    stock = Stock()
    first, second = stock.add(1), stock.add(2)
    faulty = FaultyBackend(stock.backend)
    faulty.hooks["get"] = lambda path: stock.backend.delete(layout.manifest_path(first.key))
    assert [kept.key for kept in inventory.manifests(faulty)] == [second.key]


@pytest.mark.parametrize("verb", ["list", "get"])
def test_a_failure_in_the_middle_is_raised(verb):
    stock = Stock()
    for number in range(20):
        stock.add(number)
    faulty = FaultyBackend(stock.backend)
    last = max(stock.entries())

    def hook(path):
        if path.rsplit("/", 1)[-1].startswith(last[:2]):
            raise OSError("not now")

    faulty.hooks[verb] = hook
    with pytest.raises(OSError, match="not now"):
        list(inventory.manifests(faulty))


def test_a_manifest_that_is_far_too_long_is_damage_and_no_failure():
    stock = Stock()
    manifest = stock.add(1)
    stock.backend.put(layout.manifest_path(manifest.key), b" " * (1 << 20) + b" ")
    assert [kept.damage.kind for kept in inventory.manifests(stock.backend)] == ["too-large"]


def test_a_signer_finds_what_is_not_signed():
    stock = Stock()
    stock.add(1)
    [kept] = inventory.manifests(stock.backend, Signer([b"a secret of sixteen"]))
    assert kept.damage.kind == "unsigned"


def test_documents_of_a_distant_store_are_asked_for_together():
    stock = Stock()
    for number in range(8):
        stock.add(number)
    faulty = FaultyBackend(stock.backend)
    together = threading.Barrier(8)
    faulty.hooks["get"] = lambda path: together.wait(60)
    assert len(list(inventory.manifests(faulty))) == 8


def test_shards_of_a_distant_store_are_listed_ahead():
    faulty = FaultyBackend(Stock().backend)
    together = threading.Barrier(inventory.AHEAD)
    faulty.hooks["list"] = lambda path: together.wait(60)
    assert list(inventory.manifests(faulty)) == []


def test_whoever_has_seen_enough_stops_the_reading():
    stock = Stock()
    for number in range(600):
        stock.add(number, value=[1])
    faulty = FaultyBackend(stock.backend)
    found = inventory.manifests(faulty)
    next(found)
    found.close()
    assert sum(verb == "get" for verb, _ in faulty.calls) <= inventory.AT_ONCE * 8


@pytest.mark.parametrize(
    ("fields", "seconds"),
    [
        ({"inputs": {"a": {"seconds": 2.5}}}, 2.5),
        ({"inputs": {"a": {"shape": [1, 96000]}}, "params": {"sample_rate": 48000}}, 2.0),
        ({"inputs": {"a": {"shape": [96000, 2], "sample_rate": 16000}}}, 6.0),
        ({"inputs": {"a": {"seconds": 1}, "b": {"seconds": 2}}}, 3.0),
        ({"inputs": {"a": {"shape": [96000]}}}, None),
        ({"inputs": {"a": {"shape": ["x"]}}, "params": {"sample_rate": 48000}}, None),
        ({"inputs": {"a": {"shape": [9]}}, "params": {"sample_rate": True, "rate": 0}}, None),
        ({"inputs": {"a": "digest"}}, None),
        ({}, None),
    ],
)
def test_seconds_of_audio_are_known_where_the_inputs_tell(fields, seconds):
    assert facts.audio_seconds(entry(**fields)[0]) == seconds


def test_a_voice_is_a_label_or_the_file_it_was_read_from():
    inputs = {"audio": {"name": "upload.wav"}, "text": {"name": 7}}
    assert facts.names(entry(inputs=inputs)[0]) == ["upload.wav"]
    labelled = entry(inputs=inputs, label="presets/anna.wav")[0]
    assert facts.names(labelled) == ["presets/anna.wav", "anna.wav", "upload.wav"]
    assert facts.voice(labelled) == "presets/anna.wav"
    assert facts.voice(entry()[0]) == ""
