import pytest

from stepaudio_cas.identity.digest import digest_bytes
from stepaudio_cas.store import layout

DIGEST = digest_bytes(b"content")


def test_paths_are_those_of_format_1():
    assert DIGEST[:2] == "3f"
    assert layout.object_path(DIGEST) == f"v1/objects/3f/{DIGEST}"
    assert layout.manifest_path(DIGEST) == f"v1/manifests/3f/{DIGEST}.json"
    assert layout.fingerprint_path(DIGEST) == f"v1/fingerprints/{DIGEST}.json"
    assert layout.pin_path(DIGEST) == f"v1/pins/3f/{DIGEST}"
    folders = (layout.COUNTERS, layout.LEASES, layout.STATE, layout.PROBES)
    assert folders == ("v1/counters", "v1/leases", "v1/state", "v1/probes")


@pytest.mark.parametrize(
    "path",
    [layout.object_path, layout.manifest_path, layout.fingerprint_path, layout.pin_path],
)
@pytest.mark.parametrize(
    "name",
    ["", "../../etc/passwd", DIGEST[:-1], DIGEST + "0", DIGEST.upper(), f"{DIGEST}\n", "g" * 64],
)
def test_only_a_digest_becomes_part_of_a_path(path, name):
    with pytest.raises(ValueError, match="not a digest"):
        path(name)


def test_there_are_256_shards_and_every_digest_is_in_one():
    assert len(set(layout.SHARDS)) == 256
    assert all(
        layout.object_path(digest_bytes(b"%d" % n)).split("/")[2] in layout.SHARDS
        for n in range(200)
    )


@pytest.mark.parametrize("name", ["object_path", "manifest_path", "fingerprint_path", "pin_path"])
def test_the_digest_is_found_in_every_path(name):
    assert layout.digest_in(getattr(layout, name)(DIGEST)) == DIGEST


@pytest.mark.parametrize("path", ["CACHEDIR.TAG", f"v1/objects/ab/.tmp-{DIGEST}", "v1/x.json", ""])
def test_files_that_are_not_ours_have_none(path):
    assert layout.digest_in(path) is None
