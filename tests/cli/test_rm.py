"""`cas-tool rm`: what goes, what is asked, and what is said."""

import pytest

from stepaudio_cas.maintenance.pins import pin
from stepaudio_cas.store import layout
from tests.cli.terminal import Session, on_terminal, plain


def test_keys_beginnings_voices_and_filters_select(drawer):
    for words in (
        lambda manifest: [manifest.key],
        lambda manifest: [manifest.key[:6]],
        lambda manifest: ["anna.wav"],
        lambda manifest: ["--label", "an*"],
        lambda manifest: ["--older", "3d"],
    ):
        anna, bob = drawer.voice(1, "anna.wav", hours=100), drawer.voice(2, "bob.wav")
        size = drawer.backend.stat(layout.manifest_path(anna.key)).size + anna.size
        assert drawer.tool("rm", "--yes", *words(anna)) == (0, [{
            "store": drawer.store.url, "dry_run": False, "entries": 1, "objects": 1,
            "bytes": size, "pinned": 0, "shared_objects": 0, "young_objects": 0,
            "keys": [anna.key],
        }])  # fmt: skip
        assert drawer.entries() == {bob.key}
        assert drawer.objects() == {bob.object}


@pytest.mark.parametrize("words", [[], ["--yes"], ["--pinned", "--yes"], [""]])
def test_an_empty_selection_is_refused(drawer, words):
    manifest = drawer.voice(1)
    assert drawer.tool("rm", *words) == (2, [])
    assert drawer.entries() == {manifest.key}


def test_a_dry_run_says_what_would_go_and_takes_nothing(drawer):
    manifest = drawer.voice(1, "anna.wav")
    before = {path: path.stat().st_mtime for path in drawer.root.rglob("*")}
    code, [said] = drawer.tool("rm", "anna.wav", "--dry-run")
    assert (code, said["dry_run"], said["entries"], said["objects"]) == (0, True, 1, 1)
    assert said["keys"] == [manifest.key]
    assert {path: path.stat().st_mtime for path in drawer.root.rglob("*")} == before
    _, [done] = drawer.tool("rm", "anna.wav", "--yes")
    assert done == {**said, "dry_run": False}


def test_a_voice_that_begins_with_a_dash_stands_after_two(drawer):
    drawer.voice(1, "-y.wav")
    assert drawer.tool("rm", "--yes", "--", "-y.wav")[0] == 0
    assert drawer.entries() == set()


def test_what_is_pinned_stays_unless_it_is_said(drawer):
    manifest = drawer.voice(1, "anna.wav")
    pin(drawer.backend, manifest.key)
    code, [said] = drawer.tool("rm", "anna.wav", "--yes")
    assert (code, said["entries"], said["pinned"]) == (1, 0, 1)
    assert drawer.entries() == {manifest.key}
    assert drawer.tool("rm", "anna.wav", "--yes", "--pinned")[0] == 0
    assert drawer.entries() == drawer.pins() == set()


def test_a_young_object_is_left_to_gc(drawer):
    manifest = drawer.voice(1, "anna.wav", hours=0)
    _, [said] = drawer.tool("rm", "anna.wav", "--yes")
    assert (said["entries"], said["objects"], said["young_objects"]) == (1, 0, 1)
    assert drawer.objects() == {manifest.object}


def test_objects_can_be_left_to_gc(drawer):
    manifest = drawer.voice(1, "anna.wav")
    _, [said] = drawer.tool("rm", "anna.wav", "--yes", "--keep-objects")
    assert (said["entries"], said["objects"]) == (1, 0)
    assert drawer.objects() == {manifest.object}


def test_where_nobody_can_be_asked_nothing_goes(drawer):
    drawer.voice(1, "anna.wav")
    assert drawer.tool("rm", "anna.wav") == (2, [])
    assert "say --yes" in drawer.said
    assert len(drawer.entries()) == 1


def test_a_store_that_is_read_only_by_its_mode_is_left_alone(drawer, monkeypatch):
    drawer.voice(1, "anna.wav")
    monkeypatch.setenv("STEPAUDIO_CAS_MODE", "ro")
    assert drawer.tool("rm", "anna.wav", "--yes")[0] == 2
    assert "STEPAUDIO_CAS_MODE is ro" in drawer.said
    assert drawer.tool("rm", "anna.wav", "--dry-run")[0] == 0
    assert len(drawer.entries()) == 1


def test_of_a_chain_it_is_the_first_store_and_that_is_said(drawer, capsys):
    from stepaudio_cas.cli import main as cli

    drawer.voice(1, "anna.wav")
    chain = f"{drawer.root},memory://second"
    assert cli.main(["rm", "anna.wav", "--yes", "--store", chain]) == 0
    said = capsys.readouterr().err
    assert said == f"cas-tool: only {drawer.store.url}, the first of 2; --store names another\n"


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("yes\n", 0), ("\n", 1), ("no\n", 1)])
def test_a_person_is_asked(drawer, answer, code):
    manifest = drawer.voice(1, "anna.wav")
    session = Session("rm", "anna.wav", "--store", drawer.root)
    session.wait_for("Remove this? [y/N] ")
    session.type(answer)
    ended, text = session.finish()
    assert ended == code
    assert f"{manifest.key[:12]}  anna.wav" in text
    assert "1 entry and 1 objects, " in text
    assert drawer.entries() == (set() if code == 0 else {manifest.key})
    assert ("nothing was removed" in text) == bool(code)


def test_somebody_who_has_left_has_not_agreed(drawer):
    drawer.voice(1, "anna.wav")
    session = Session("rm", "anna.wav", "--store", drawer.root)
    session.wait_for("Remove this? [y/N] ")
    session.type("\x04")
    assert session.finish()[0] == 1
    assert len(drawer.entries()) == 1


def test_interrupting_the_question_is_130_and_takes_nothing(drawer):
    drawer.voice(1, "anna.wav")
    session = Session("rm", "anna.wav", "--store", drawer.root)
    session.wait_for("Remove this? [y/N] ")
    session.interrupt()
    code, text = session.finish()
    assert code == 130
    assert "Traceback" not in text
    assert len(drawer.entries()) == 1


def test_a_terminal_is_told_what_would_go_and_what_stays(drawer):
    for number in range(15):
        drawer.voice(number, f"anna {number}.wav")
    kept = drawer.voice(20, "anna kept.wav")
    pin(drawer.backend, kept.key)
    _, text = on_terminal("rm", "anna*", "--dry-run", "--store", drawer.root, columns=200)
    lines = plain(text).splitlines()
    assert len(lines) == 12
    assert lines[-2] == "… and 5 more"
    assert lines[-1].startswith("would be removed: 15 entries and 15 objects, ")
    assert lines[-1].endswith("; what stays: 1 entry pinned")
    _, text = on_terminal("rm", "anna*", "--yes", "--store", drawer.root, columns=200)
    assert plain(text).startswith("15 entries and 15 objects removed, ")
    _, text = on_terminal("rm", "anna*", "--yes", "--store", drawer.root, columns=200)
    assert plain(text).startswith(f"nothing to remove from {drawer.store.url}; what stays: 1 entry")
