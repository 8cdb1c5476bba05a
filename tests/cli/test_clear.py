"""`cas-tool clear`: everything goes but what is pinned."""

from stepaudio_cas.maintenance.pins import pin
from stepaudio_cas.store import layout
from tests.cli.drawer import MODEL
from tests.cli.terminal import Session


def test_everything_goes_but_what_is_pinned(drawer):
    kept = drawer.voice(1)
    for number in range(2, 6):
        drawer.voice(number)
    drawer.damage(drawer.voice(6))
    pin(drawer.backend, kept.key)
    code, [said] = drawer.tool("clear", "--yes")
    assert (code, said["entries"], said["pinned"]) == (0, 5, 1)
    assert drawer.entries() == drawer.pins() == {kept.key}
    assert kept.object in drawer.objects()


def test_all_means_what_is_pinned_too(drawer):
    pin(drawer.backend, drawer.voice(1).key)
    code, [said] = drawer.tool("clear", "--all", "--yes")
    assert (code, said["entries"]) == (0, 1)
    assert drawer.entries() == drawer.pins() == drawer.objects() == set()


def test_a_plugin_or_a_model_can_be_cleared_alone(drawer):
    first = drawer.voice(1, plugin="mine", schema="mine", fingerprint="aa")
    second = drawer.voice(2)
    assert drawer.tool("clear", "--yes", "--plugin", "mine", "--model", "bb")[1][0]["entries"] == 0
    assert drawer.tool("clear", "--dry-run", "--plugin", "mine")[1][0]["keys"] == [first.key]
    assert drawer.tool("clear", "--yes", "--plugin", "mine")[1][0]["keys"] == [first.key]
    assert drawer.tool("clear", "--yes", "--model", MODEL.id[:4])[1][0]["keys"] == [second.key]


def test_what_is_not_an_entry_stays(drawer):
    drawer.voice(1)
    drawer.model()
    drawer.backend.put(f"{layout.COUNTERS}/a.json", b"{}")
    drawer.tool("clear", "--yes")
    assert drawer.backend.stat(layout.fingerprint_path(MODEL.id)) is not None
    assert drawer.backend.stat(f"{layout.COUNTERS}/a.json") is not None


def test_an_empty_store_is_clear_already(drawer):
    code, [said] = drawer.tool("clear")
    assert (code, said["entries"], said["bytes"]) == (0, 0, 0)


def test_nothing_goes_unasked(drawer):
    drawer.voice(1)
    assert drawer.tool("clear") == (2, [])
    session = Session("clear", "--store", drawer.root)
    session.wait_for("Remove this? [y/N] ")
    session.type("n\n")
    assert session.finish()[0] == 1
    assert len(drawer.entries()) == 1
