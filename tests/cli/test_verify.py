"""`cas-tool verify` as it is typed."""

import json

import pytest

from stepaudio_cas.cli.main import main
from stepaudio_cas.store import layout
from stepaudio_cas.store.local import LocalBackend
from stepaudio_cas.store.store import Store
from tests.maintenance.filled import MODEL, filled
from tests.support.values import entry

OBJECT = layout.object_path(entry(0)[0].object)


@pytest.fixture
def store(root):
    return filled(LocalBackend(root), 5)


@pytest.fixture
def tool(root, capsys):
    """Run `cas-tool verify` on the store; return its exit code, findings and summary."""

    def run(*words, chain=""):
        code = main(["--store", f"{root}{chain}", "verify", *words])
        *findings, summary = map(json.loads, capsys.readouterr().out.splitlines())
        return code, findings, summary["summary"]

    return run


def test_a_whole_store_is_0_and_one_line_says_what_was_seen(store, tool, root):
    assert tool() == (
        0,
        [],
        {
            "store": f"file://{root}", "sample": "1/1", "entries": 5, "objects": 5,
            "bytes": sum(entry(number)[0].size for number in range(5)), "fingerprints": 1,
            "findings": {}, "mended": 0,
        },
    )  # fmt: skip


def test_damage_is_1_and_a_line_for_each(store, tool, root):
    (root / OBJECT).write_bytes(b"damaged")
    code, [finding], summary = tool()
    assert (code, summary["findings"]) == (1, {"object": 1})
    assert finding == {
        "finding": "object", "note": False, "what": "object", "path": OBJECT,
        "detail": "its 7 bytes are not what its name says", "done": "", "mended": False,
    }  # fmt: skip


def test_notes_are_told_and_count_only_if_asked(store, tool, root):
    (root / layout.fingerprint_path(MODEL.id)).unlink()
    code, [finding], _ = tool()
    assert (code, finding["finding"], finding["note"]) == (0, "fingerprint-missing", True)
    assert tool("--strict")[0] == 1


def test_a_part_is_checked_and_all_parts_find_it_once(store, tool, root):
    (root / OBJECT).write_bytes(b"damaged")
    runs = [tool("--sample", f"{number}/4") for number in range(1, 5)]
    assert sorted(code for code, _, _ in runs) == [0, 0, 0, 1]
    assert [f["path"] for _, findings, _ in runs for f in findings] == [OBJECT]
    assert sum(summary["entries"] for _, _, summary in runs) == 5
    assert runs[1][2]["sample"] == "2/4"


@pytest.mark.parametrize("text", ["0/4", "5/4", "1/257", "1", "a/b", "1/0", "-1/4", "1/4/2"])
def test_a_part_that_is_none_is_wrong_usage(text, capsys):
    with pytest.raises(SystemExit) as end:
        main(["--store", "memory://x", "verify", f"--sample={text}"])
    assert end.value.code == 2
    assert "is not a part such as 1/7" in capsys.readouterr().err


def test_repair_takes_from_the_rest_of_the_chain(store, tool, root, tmp_path):
    filled(LocalBackend(tmp_path / "other"), 5)
    (root / OBJECT).write_bytes(b"damaged")
    chain = f",{tmp_path / 'other'}"
    code, [finding], summary = tool("--repair", "--dry-run", chain=chain)
    assert finding["done"] == f"would be copied from file://{tmp_path / 'other'}"
    assert (code, summary["mended"], (root / OBJECT).read_bytes()) == (1, 0, b"damaged")
    code, [finding], summary = tool("--repair", chain=chain)
    assert (code, finding["mended"], summary["mended"]) == (1, True, 1)
    assert tool()[0] == 0


def test_without_another_store_it_is_set_aside(store, tool, root):
    (root / OBJECT).write_bytes(b"damaged")
    code, findings, _ = tool("--repair")
    assert (code, [f["finding"] for f in findings]) == (1, ["object", "object-missing"])
    assert len([p for p in (root / layout.QUARANTINE).rglob("*") if p.is_file()]) == 2
    assert tool()[:2] == (0, [])


def test_a_store_is_not_its_own_donor(store, tool, root):
    (root / OBJECT).write_bytes(b"damaged")
    _, findings, _ = tool("--repair", chain=f",{root}")
    assert findings[0]["done"].startswith("moved to v1/quarantine/objects/")


def test_repair_needs_the_right_to_write_and_dry_run_needs_repair(store, root, monkeypatch, capsys):
    monkeypatch.setenv("STEPAUDIO_CAS_MODE", "ro")
    assert main(["--store", str(root), "verify", "--repair"]) == 2
    assert main(["--store", str(root), "verify", "--repair", "--dry-run"]) == 0
    assert main(["--store", str(root), "verify", "--dry-run"]) == 2
    assert capsys.readouterr().err.count("\n") == 2


def test_the_signing_key_counts(store, tool, tmp_path, monkeypatch):
    key = tmp_path / "key"
    key.write_text("0123456789abcdef")
    monkeypatch.setenv("STEPAUDIO_CAS_SIGNING_KEY_FILE", str(key))
    code, findings, _ = tool()
    assert (code, {f["finding"] for f in findings}) == (1, {"unsigned"})


def test_on_a_terminal_there_is_a_table(store, root, monkeypatch, capsys):
    (root / OBJECT).write_bytes(b"damaged")
    monkeypatch.setattr("stepaudio_cas.cli.tables.on_terminal", lambda: True)
    assert main(["--store", str(root), "verify", "--repair"]) == 1
    said = capsys.readouterr().out
    assert f"object    {entry(0)[0].object[:16]}…" in said
    assert "moved to v1/quarantine" in said
    assert "1  object: its content is not what its name says" in said
    assert said.rstrip().endswith("2 findings")
    assert main(["--store", str(root), "verify"]) == 0
    assert capsys.readouterr().out.rstrip().endswith("all is well")


def test_a_store_that_cannot_be_listed_is_one_line(root, capsys):
    root.write_bytes(b"no folder")
    assert main(["--store", str(root), "verify"]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("cas-tool: ")


def test_a_store_in_memory_can_be_verified(tmp_path, capsys):
    store = Store(LocalBackend(tmp_path))
    assert store.url
    assert main(["--store", "memory://verified", "verify"]) == 0
    assert '"entries":0' in capsys.readouterr().out


def test_a_store_that_is_not_there_is_not_in_order(root, capsys):
    assert main(["--store", str(root), "verify"]) == 1
    assert "there is no store at" in capsys.readouterr().err
    assert not root.exists()
