"""Export files that somebody has made up: every member that is not an entry of ours is refused."""

import io
import tarfile

import pytest

from stepaudio_cas.maintenance import archive
from stepaudio_cas.maintenance.archive import INDEX, BadArchive, Reader
from stepaudio_cas.store import layout
from stepaudio_cas.store.local import LocalBackend
from stepaudio_cas.store.store import Store
from tests.maintenance.filled import MODEL, documents, in_memory, readable
from tests.maintenance.tars import exported, imported, index, member, packed, unpacked
from tests.support.values import entry

MANIFEST, BLOB = entry(0)
OBJECT, PATH = layout.object_path(MANIFEST.object), layout.manifest_path(MANIFEST.key)
GOOD = [member(OBJECT, BLOB), member(PATH, MANIFEST.seal())]
ZEROS = "0" * 64
NO_FILE = "it is no file"


def counts(members):
    size = sum(len(content) for _, content in members)
    return index(entries=1, objects=1, bytes=size)


HOSTILE = {
    "a path above": member("../../etc/passwd", b"x"),
    "a path above in ours": member(f"{layout.OBJECTS}/../../{ZEROS}", b"x"),
    "an absolute path": member(f"/{layout.OBJECTS}/00/{ZEROS}", b"x"),
    "a dot before it": member(f"./{layout.OBJECTS}/00/{ZEROS}", b"x"),
    "another folder of ours": member(f"{layout.PINS}/00/{ZEROS}", b"x"),
    "a state of ours": member("v1/state/files.sqlite", b"x"),
    "a wrong shard": member(f"{layout.OBJECTS}/01/{ZEROS}", b"x"),
    "upper case": member(f"{layout.OBJECTS}/AB/{'AB' * 32}", b"x"),
    "a symbolic link": member(f"{layout.OBJECTS}/00/{ZEROS}", kind=tarfile.SYMTYPE, link="/etc"),
    "a hard link": member(f"{layout.OBJECTS}/00/{ZEROS}", kind=tarfile.LNKTYPE, link=OBJECT),
    "a device": member(f"{layout.OBJECTS}/00/{ZEROS}", kind=tarfile.CHRTYPE),
    "a block device": member(f"{layout.OBJECTS}/00/{ZEROS}", kind=tarfile.BLKTYPE),
    "a pipe": member(f"{layout.OBJECTS}/00/{ZEROS}", kind=tarfile.FIFOTYPE),
    "a folder": member(f"{layout.OBJECTS}/00", kind=tarfile.DIRTYPE),
    "a sparse file": member(f"{layout.OBJECTS}/00/{ZEROS}", b"x", kind=tarfile.GNUTYPE_SPARSE),
    "a long name": member("././@LongLink", b"v1/x\0", kind=tarfile.GNUTYPE_LONGNAME),
    "an extended header": member("pax", b"20 path=/etc/passwd\n", kind=tarfile.XHDTYPE),
    "control characters": member("v1/objects/\x1b[2J", b"x"),
    "a second index": index(entries=7),
    "an object that is another": member(f"{layout.OBJECTS}/00/{ZEROS}", b"x"),
    "a manifest of nothing": member(f"{layout.MANIFESTS}/00/{ZEROS}.json", b"{}"),
    "a fingerprint that is another": member(layout.fingerprint_path(ZEROS), b"{}"),
    "the same object again": member(OBJECT, BLOB),
    "too large a manifest": member(f"{layout.MANIFESTS}/00/{ZEROS}.json", bytes((1 << 20) + 1)),
}


@pytest.mark.parametrize("where", ["before", "after"])
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_member_is_refused_and_what_is_good_is_taken(root, name, where):
    bad = HOSTILE[name]
    members = [bad, *GOOD] if where == "before" else [*GOOD, bad]
    target = Store(LocalBackend(root))
    refused, (new, _, number) = imported(target, packed([counts(GOOD), *members]))
    assert number >= 1
    assert refused
    assert all(path.isprintable() for path, _ in refused)
    assert new == 1
    assert target.read(MANIFEST.key).blob == BLOB
    files = {str(p.relative_to(root)) for p in root.rglob("*") if p.is_file()}
    assert files == {"CACHEDIR.TAG", OBJECT, PATH}
    assert not [p for p in root.rglob("*") if p.is_symlink()]
    assert not (root.parent / "etc").exists()


@pytest.mark.parametrize("at", [0, 1])
@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.CONTTYPE, b"?"]
)
def test_the_right_content_in_what_is_no_file_is_refused(tmp_path, kind, at):
    members = list(GOOD)
    members[at] = member(members[at][0].name, members[at][1], kind=kind)
    target = in_memory(tmp_path, 0)
    refused, (new, _, _) = imported(target, packed([counts(GOOD), *members]))
    assert new == 0
    assert refused[0][0] == members[at][0].name
    assert refused[0][1] in {
        "it is a symbolic link",
        "it is a hard link",
        "it is a device",
        NO_FILE,
    }


@pytest.mark.parametrize("at", [0, 1])
@pytest.mark.parametrize(
    "change",
    [
        lambda path: path.replace(f"/{path.split('/')[2]}/", "/00/"),
        lambda path: path.replace(f"/{path.split('/')[2]}/", "/../"),
        lambda path: path.replace("v1/", "v2/"),
        lambda path: f"./{path}",
        lambda path: f"/{path}",
        lambda path: path.replace("/", "//", 1),
    ],
)
def test_the_right_content_under_another_path_is_refused(tmp_path, change, at):
    members = list(GOOD)
    members[at] = member(change(members[at][0].name), members[at][1])
    target = in_memory(tmp_path, 0)
    refused, (new, _, _) = imported(target, packed([counts(GOOD), *members]))
    assert new == 0
    assert refused[0] == (change(GOOD[at][0].name), "nothing of ours has such a name")


@pytest.mark.parametrize("size", [1 << 33, (1 << 30) + 1, 1 << 62, -1, -(1 << 40)])
@pytest.mark.parametrize("path", [OBJECT, PATH, "anything"])
def test_a_size_beyond_reason_ends_it_at_once(tmp_path, path, size):
    info, _ = member(path, size=size)
    target = in_memory(tmp_path, 0)
    refused, (new, _, _) = imported(target, packed([counts(GOOD), (info, b"x")]))
    assert new == 0
    [(_, reason)] = refused
    assert reason.startswith("it is ")
    assert list(target.backend.list("v1")) == []


def test_a_size_that_a_store_would_not_take_is_refused_without_reading_it(tmp_path, monkeypatch):
    monkeypatch.setitem(archive._KINDS, layout.OBJECTS, (layout.object_path, 4))
    target = in_memory(tmp_path, 0)
    refused, _ = imported(target, packed([counts(GOOD), *GOOD]))
    assert (OBJECT, f"it is too large: {len(BLOB)} bytes") in refused


def test_an_object_with_other_bytes_and_its_entry_are_refused(tmp_path):
    target = in_memory(tmp_path, 0)
    data = packed([counts(GOOD), member(OBJECT, BLOB + b"!"), GOOD[1]])
    for dry in (True, False):
        refused, number = imported(target, data, dry=dry)
        assert number == (0, 0, 2)
        assert refused[0][0] == PATH
    assert list(target.backend.list("v1")) == []


def test_a_manifest_before_its_object_is_refused(tmp_path):
    target = in_memory(tmp_path, 0)
    refused, number = imported(target, packed([counts(GOOD), *reversed(GOOD)]))
    assert number == (0, 0, 2)
    assert "does not stand before it" in refused[0][1]


@pytest.mark.parametrize(
    "sealed",
    [
        MANIFEST.seal().replace(b"test/1", b"test/2"),
        entry(1)[0].seal(),
        MANIFEST._replace(size=MANIFEST.size + 1).seal(),
        MANIFEST._replace(object="no digest").seal(),
    ],
    ids=["wrong sum", "of another key", "lies about the size", "names no object"],
)
def test_a_manifest_that_is_not_what_it_should_be_is_refused(tmp_path, sealed):
    target = in_memory(tmp_path, 0)
    _, (new, there, number) = imported(
        target, packed([counts(GOOD), GOOD[0], member(PATH, sealed)])
    )
    assert (new, there) == (0, 0)
    assert number >= 1
    assert list(target.backend.list("v1")) == []


def test_the_same_manifest_twice_is_taken_once(tmp_path):
    target = in_memory(tmp_path, 0)
    refused, number = imported(target, packed([counts(GOOD), *GOOD, GOOD[1]]))
    assert (refused, number) == ([(PATH, "it is there twice")], (1, 0, 1))


def test_an_object_that_no_manifest_names_is_not_taken(tmp_path):
    target = in_memory(tmp_path, 0)
    refused, _ = imported(target, packed([index(objects=1, bytes=len(BLOB)), GOOD[0]]))
    assert refused == [(OBJECT, "no manifest after it names it")]
    assert list(target.backend.list("v1")) == []


def test_a_damaged_fingerprint_is_refused_and_its_entries_are_taken(tmp_path):
    source = in_memory(f"{tmp_path}-source", 2)
    members = unpacked(exported(source)[0])
    at = [info.name for info, _ in members].index(layout.fingerprint_path(MODEL.id))
    members[at] = (members[at][0], members[at][1][:-1] + b"!")
    target = in_memory(tmp_path, 0)
    refused, number = imported(target, packed(members))
    assert number == (2, 0, 1)
    assert refused[0][0] == layout.fingerprint_path(MODEL.id)
    assert readable(target) == readable(source)
    assert layout.fingerprint_path(MODEL.id) not in documents(target)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "it is cut off at 0 bytes"),
        (b"no tar at all" * 100, "it is no tar at byte 0"),
        (bytes(10240), "does not begin with the index"),
        (packed(GOOD), "does not begin with the index"),
        (b"\x1f\x8b\x08\0" + bytes(600), "it is compressed"),
        (packed([member(INDEX, b"[]")]), "its index cannot be read"),
        (packed([member(INDEX, b"{")]), "its index cannot be read"),
        (packed([member(INDEX, b'{"format":2}')]), "it has format 2; this version reads 1"),
        (packed([member(INDEX, b"{}")]), "its index cannot be read"),
        (packed([member(INDEX, bytes(1 << 20))]), "does not begin with the index"),
        (packed([member(INDEX, kind=tarfile.SYMTYPE, link="/x")]), "begin with the index"),
    ],
)
def test_what_is_no_export_is_said_to_be_none(data, said):
    with pytest.raises(BadArchive, match=said):
        Reader(io.BytesIO(data))
