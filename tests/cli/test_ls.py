"""`cas-tool ls`: what is listed, in which order, and how it looks."""

import pytest

from stepaudio_cas.cli import main as cli
from stepaudio_cas.maintenance.documents import at
from stepaudio_cas.maintenance.inventory import manifests
from stepaudio_cas.maintenance.pins import pin
from stepaudio_cas.store import layout
from stepaudio_cas.store.local import LocalBackend
from tests.cli.drawer import MODEL, TOKENS
from tests.cli.terminal import on_terminal, plain


def keys(result):
    code, lines = result
    assert code == 0
    return [line["key"] for line in lines]


def test_a_pipe_gets_a_line_of_json_for_each_entry(drawer):
    manifest = drawer.voice(1, "presets/anna.wav", hours=50)
    pin(drawer.backend, manifest.key)
    used = drawer.backend.stat(layout.manifest_path(manifest.key))
    code, [line] = drawer.tool("ls")
    assert (code, drawer.said) == (0, "")
    assert line.pop("used") == at(used.mtime)
    assert line == {
        "key": manifest.key,
        "plugin": TOKENS,
        "schema": TOKENS,
        "voice": "presets/anna.wav",
        "label": "presets/anna.wav",
        "model": MODEL.id,
        "object": manifest.object,
        "audio_seconds": 10.0,
        "encode_seconds": 1.5,
        "created": "2026-10-01T09:00:00Z",
        "size": used.size + manifest.size,
        "pinned": True,
        "damage": None,
        "damage_detail": None,
    }


def test_an_empty_store_and_one_that_is_not_there_list_nothing(drawer):
    assert drawer.tool("ls") == (0, [])
    assert not drawer.root.exists()


def test_a_damaged_entry_is_listed_as_such(drawer):
    whole, hurt = drawer.voice(1), drawer.voice(2)
    drawer.damage(hurt)
    code, lines = drawer.tool("ls")
    found = {line["key"]: (line["damage"], line["schema"]) for line in lines}
    assert code == 0
    assert found == {whole.key: (None, TOKENS), hurt.key: ("manifest", None)}


def test_filters_words_and_pins_choose(drawer):
    anna = drawer.voice(1, "anna.wav", hours=100)
    bob = drawer.voice(2, "bob.wav", plugin="mine", schema="mine", fingerprint="")
    pin(drawer.backend, bob.key)
    pin(drawer.backend, "00" * 32)
    for words, wanted in (
        (["--label", "an*"], anna),
        (["--plugin", "stepaudio"], anna),
        (["--model", MODEL.id[:6]], anna),
        (["--older", "4d"], anna),
        (["--larger", "0", "--plugin", "mine"], bob),
        ([anna.key[:4]], anna),
        (["b*"], bob),
        (["--pinned"], bob),
        (["--pinned", "b*"], bob),
    ):
        assert keys(drawer.tool("ls", *words)) == [wanted.key], words
    for words in (["--label", "nobody"], ["--pinned", "an*"], ["--pinned", "--label", "an*"]):
        assert keys(drawer.tool("ls", *words)) == [], words


def test_a_voice_is_called_what_it_is_pinned_as(drawer):
    moved, other = drawer.voice(1, "/v/anna.wav"), drawer.voice(2, "/v/bob.wav")
    pin(drawer.backend, moved.key, label="/v/moved.wav")
    for words in (["moved.wav"], ["--label", "mov*"], ["--pinned", "--label", "mov*"]):
        code, [line] = drawer.tool("ls", *words)
        assert (line["key"], line["voice"]) == (moved.key, "/v/moved.wav"), words
        assert line["label"] == "/v/anna.wav"
    assert keys(drawer.tool("ls", "--label", "b*")) == [other.key]
    code, [line] = drawer.tool("show", "moved.wav")
    assert (line["key"], line["voice"]) == (moved.key, "/v/moved.wav")
    code, [line] = drawer.tool("export", drawer.root.parent / "v.tar", "--label", "moved.wav")
    assert (code, line["summary"]["entries"]) == (0, 1)
    target = drawer.root.parent / "target"
    assert cli.main(["sync", str(drawer.root), str(target), "--label", "moved.wav"]) == 0
    assert [kept.key for kept in manifests(LocalBackend(target))] == [moved.key]


def test_without_pins_nothing_is_pinned(drawer):
    drawer.voice(1)
    assert keys(drawer.tool("ls", "--pinned")) == []


def test_a_word_that_means_nothing_is_an_error(drawer):
    drawer.voice(1)
    assert drawer.tool("ls", "nobody.wav") == (1, [])
    assert "nobody.wav" in drawer.said


def test_entries_are_put_in_order(drawer):
    first = drawer.voice(1, hours=1, value=[b"x" * 50])
    second = drawer.voice(9, hours=5, value=[b"x" * 500])
    third = drawer.voice(5, hours=3, value=[b"x"])
    by = {
        "used": [first, third, second],
        "size": [second, first, third],
        "saved": [second, third, first],
        "key": sorted([first, second, third], key=lambda manifest: manifest.key),
    }
    for order, wanted in by.items():
        expected = [manifest.key for manifest in wanted]
        assert keys(drawer.tool("ls", "--sort", order)) == expected, order
        assert keys(drawer.tool("ls", "--sort", order, "--limit", "2")) == expected[:2], order
        assert keys(drawer.tool("ls", "--sort", order, "--limit", "0")) == expected, order
    assert keys(drawer.tool("ls")) == [manifest.key for manifest in by["key"]]


def test_the_newest_come_first(drawer):
    days = ["2026-01-31", "2025-12-31", "2026-02-01"]
    made = [drawer.add(n, created=f"{day}T00:00:00Z").key for n, day in enumerate(days)]
    assert keys(drawer.tool("ls", "--sort", "created")) == [made[2], made[0], made[1]]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--older", "long"], "'long' is not a duration such as 90, 15m, 24h or 30d"),
        (["--larger", "huge"], "'huge' is not a size such as 512, 256MB or 1.5GiB"),
        (["--limit", "-1"], "'-1' is not a number of entries"),
        (["--limit", "few"], "'few' is not a number of entries"),
        (["--sort", "name"], "invalid choice"),
    ],
)
def test_wrong_values_are_named(words, said, capsys):
    with pytest.raises(SystemExit) as end:
        cli.main(["ls", "--store", "memory://", *words])
    assert end.value.code == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("columns", [80, 120, 200])
def test_a_terminal_gets_a_table_that_fits(drawer, columns):
    drawer.voice(1, "anna.wav")
    drawer.voice(2, "a voice with a name that is a good deal longer than the terminal is wide.wav")
    hurt = drawer.voice(3)
    drawer.damage(hurt)
    code, text = on_terminal("ls", "--store", drawer.root, columns=columns)
    lines = plain(text).splitlines()
    assert code == 0
    assert max(map(len, lines)) <= columns
    assert len(lines) == 5, text
    assert lines[0].split() == ["key", "what", "voice", "audio", "size", "encode", "used", "pin"]
    assert any(f"{hurt.key[:12]}  damaged" in line for line in lines)
    [anna] = [line for line in lines if "anna.wav" in line]
    assert "wav2token" in anna
    assert "10.00 s" in anna
    assert "1.50 s" in anna
    assert lines[-1].startswith("3 entries, ")
    assert "1 damaged: cas-tool verify" in text
    assert "\x1b[1m" in text


def test_a_terminal_that_wants_no_colours_gets_no_escapes(drawer):
    drawer.voice(1, "anna.wav")
    code, text = on_terminal("ls", "--store", drawer.root, variables={"NO_COLOR": "1"})
    assert code == 0
    assert "anna.wav" in text
    assert "\x1b" not in text


def test_a_terminal_gets_a_screenful_and_is_told_of_the_rest(drawer):
    for number in range(60):
        drawer.voice(number, hours=number + 1)
    _, text = on_terminal("ls", "--store", drawer.root)
    assert text.count("wav2token") == 50
    assert "60 entries" in plain(text)
    assert "50 shown, --limit 0 shows all" in text
    assert on_terminal("ls", "--store", drawer.root, "--limit", "0")[1].count("wav2token") == 60


def test_a_name_cannot_steer_the_terminal(drawer):
    drawer.voice(1, "\x1b]0;title\x07\x1b[31mred\n.wav")
    _, text = on_terminal("ls", "--store", drawer.root, columns=120)
    assert "\\x1b]0;title\\x07\\x1b[31mred\\n.wav" in text


def test_a_terminal_that_lists_nothing_says_so(drawer):
    drawer.root.mkdir()
    code, text = on_terminal("ls", "--store", drawer.root)
    assert (code, plain(text)) == (0, f"there are no such entries in file://{drawer.root}\n")


def test_json_is_written_to_a_terminal_if_asked_for(drawer):
    drawer.voice(1)
    _, text = on_terminal("ls", "--store", drawer.root, "--json")
    assert text.startswith('{"key":"')


def test_a_path_that_was_mistyped_is_said_and_no_folder_is_made(drawer):
    code, text = on_terminal("ls", "--store", drawer.root)
    assert code == 0
    assert f"there is no store at file://{drawer.root}; nothing was ever written there" in plain(
        text
    )
    assert not drawer.root.exists()
