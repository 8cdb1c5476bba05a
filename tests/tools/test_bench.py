import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tools.bench import hits, misses, rivals
from tools.bench.bars import make_bars
from tools.bench.cli import main
from tools.bench.docs import BEGIN, END, check_page, update_page
from tools.bench.fleet import in_threads
from tools.bench.libraries import Libraries, describe
from tools.bench.recreations import InMemory, JsonFiles, host_path
from tools.bench.report import render
from tools.bench.sampling import Pairs
from tools.bench.subject import SAMPLE_RATE, bytes_of, encode, make_clip

REPOSITORY = Path(__file__).parents[2]
PACKAGES = {rivals.JOBLIB: "joblib", rivals.DISKCACHE: "diskcache", hits.HOST: "librosa"}
BARS = [
    "memory hit / BLAKE3 of the same bytes",
    "memory hit / the host's own cached path",
    "disk hit / (BLAKE3 + two bare reads)",
    "disk hit / joblib.Memory",
    "disk hit / diskcache",
    "miss overhead / 1 s encode",
    "encodes of one new key",
    "time / ideal time, 0% repeats of 250.0 ms encodes",
    "time / ideal time, 50% repeats of 250.0 ms encodes",
    "time / ideal time, 80% repeats of 250.0 ms encodes",
    "time / encode time, 100% repeats of 70.0 ms encodes",
]


@pytest.mark.parametrize("command", [["-m", "tools.bench"], ["tools/bench"]], ids=" ".join)
def test_help_is_printed_for_either_way_of_calling_it(command):
    done = subprocess.run(
        [sys.executable, *command, "--help"],
        check=True,
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )
    assert "--quick" in done.stdout


def test_a_tiny_run_writes_every_bar_and_says_what_is_missing(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    command = [sys.executable, "-m", "tools.bench", "--scale", "tiny", "--dir", tmp_path / "stores"]
    outputs = ["--json", tmp_path / "run.json", "--markdown", tmp_path / "run.md"]
    done = subprocess.run(
        [*command, *outputs, "--update-docs", page],
        check=False,
        cwd=REPOSITORY,
        env={**os.environ, "STEPAUDIO_CAS_MODE": "off"},  # a shell's settings do not matter
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    document = json.loads((tmp_path / "run.json").read_text())
    assert [bar["name"] for bar in document["bars"]] == BARS
    for bar in document["bars"]:
        assert bar["ok"] == (bar["value"] is not None and bar["value"] <= bar["limit"])
    compared = {**document["figures"]["memory_hit"], **document["figures"]["disk_hit"]}
    assert {hits.BLAKE3, hits.FLOOR} <= compared.keys()
    for contestant, package in PACKAGES.items():
        assert (contestant in compared) != (package in document["missing"])
    assert len(document["figures"]["throughput"]) == 4
    assert len(document["figures"]["repeats"]) == 7
    assert done.stdout == (tmp_path / "run.md").read_text()
    assert page.read_text().startswith("before\n")
    assert page.read_text().endswith("\nafter\n")
    assert "old" not in page.read_text()
    assert BARS[0] in page.read_text()
    assert list((tmp_path / "stores").iterdir()) == []


def test_a_page_without_a_place_for_the_result_is_refused_before_anything_is_measured(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"{END}\n{BEGIN}\n")
    with pytest.raises(ValueError, match="needs one line"):
        check_page(page)
    assert main(["--scale", "tiny", "--update-docs", str(page)]) == 2


def test_updating_a_page_twice_leaves_the_second_result_only(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"# Title\n\n{BEGIN}\n{END}\n")
    update_page(page, "first\n")
    update_page(page, "second\n")
    assert page.read_text() == f"# Title\n\n{BEGIN}\n\nsecond\n\n{END}\n"


def test_the_page_of_this_repository_has_a_place_for_the_result():
    check_page(REPOSITORY / "docs" / "benchmarks.md")


def test_what_cannot_be_imported_is_named_with_the_reason():
    libraries = Libraries()
    assert libraries.load("no_such_package") is None
    assert "ModuleNotFoundError" in libraries.missing["no_such_package"]


def test_a_reason_names_the_file_and_not_the_folders_of_the_machine():
    error = OSError("Could not load this library: /home/somebody/.venv/lib/_thing.so")
    assert describe(error) == "OSError: Could not load this library: _thing.so"


def test_a_bar_that_could_not_be_measured_is_not_reached():
    bars = {bar.name: bar for bar in make_bars(figures(host=None))}
    bar = bars["memory hit / the host's own cached path"]
    assert (bar.value, bar.ok) == (None, False)


@pytest.mark.parametrize(("host", "ok"), [(0.1, True), (0.11, False)])
def test_a_bar_is_reached_up_to_its_limit(host, ok):
    bars = {bar.name: bar for bar in make_bars(figures(host=host))}
    assert bars["memory hit / the host's own cached path"].ok is ok


@pytest.mark.parametrize(("encodes", "ok"), [([1, 1], True), ([1, 2], False), ([1, 0], False)])
def test_every_new_key_has_to_be_encoded_exactly_once(encodes, ok):
    bars = {bar.name: bar for bar in make_bars(figures(encodes=encodes))}
    assert bars["encodes of one new key"].ok is ok


def test_a_report_says_what_is_missing_and_what_was_not_measured():
    found = figures(host=None)
    document = {
        "scale": "tiny",
        "seconds": 1.0,
        "missing": {"librosa": "ModuleNotFoundError: No module named 'librosa'"},
        "machine": dict.fromkeys(
            ("when", "processor", "cores", "system", "file_system", "python", "stepaudio_cas"), "?"
        )
        | {"versions": {}, "load": [0.0]},
        "bars": [bar.figures() for bar in make_bars(found)],
        "figures": found,
    }
    text = render(document)
    assert "**librosa is missing**" in text
    assert "| memory hit / the host's own cached path | not measured | 0.100 | **no** |" in text


def test_the_ratio_is_taken_pair_by_pair():
    slowed_down_for_one_pair = Pairs([2.0, 20.0, 2.0], [1.0, 10.0, 1.0])
    assert slowed_down_for_one_pair.ratio == (2.0, 2.0, 2.0)


def test_the_recreated_file_cache_answers_from_two_hex_digits_and_md5(tmp_path):
    cache = JsonFiles(tmp_path)
    function = host_path(cache, encode)
    clip = make_clip()
    assert function(clip, SAMPLE_RATE) == function(clip, SAMPLE_RATE) == encode(clip, SAMPLE_RATE)
    [file] = tmp_path.glob("*/*.json")
    assert len(file.stem) == 32
    assert file.parent.name == file.stem[:2]
    assert (cache.hits, cache.misses) == (1, 1)


def test_the_recreated_memory_cache_forgets_the_least_used_of_a_thousand():
    cache = InMemory()
    for number in range(1000):
        cache.put(str(number), number)
    cache.get("0")
    cache.put("new", 1000)
    assert (cache.get("0"), cache.get("1"), cache.get("new")) == (0, None, 1000)


def test_clips_with_different_numbers_have_different_bytes_and_tokens():
    one, other = make_clip(1), make_clip(2)
    assert bytes_of(one) != bytes_of(other)
    assert encode(one, SAMPLE_RATE) != encode(other, SAMPLE_RATE)
    assert [len(part) for part in encode(one, SAMPLE_RATE)] == [417, 167, 250]


def test_what_goes_wrong_in_a_thread_of_a_worker_is_raised():
    def fail(number):
        raise KeyError(number)

    with pytest.raises(KeyError):
        in_threads(3, fail, lambda: None)


def figures(*, host=0.05, encodes=(1,)):
    """Return the figures of an imaginary run."""

    def pairs(ratio):
        spread = {"median": ratio, "low": ratio, "high": ratio}
        return {"seconds": spread, "reference_seconds": spread, "ratio": spread, "blocks": 1}

    spread = {"median": 0.001, "low": 0.001, "high": 0.001}
    memory = {hits.BLAKE3: pairs(1.1)} | ({hits.HOST: pairs(host)} if host is not None else {})
    return {
        "memory_hit": memory,
        "disk_hit": {hits.FLOOR: pairs(1.5), rivals.JOBLIB: pairs(0.1)},
        "miss": {
            misses.OURS: {
                "overhead_seconds": spread,
                "p95_seconds": 0.002,
                "share_of_1_s": 0.001,
                "share_of_100_ms": 0.01,
            }
        },
        "stampede": {
            "threads": 2,
            "processes": 2,
            "rounds": len(encodes),
            "encodes": list(encodes),
            "different_results": [1],
            "errors": 0,
        },
        "repeats": [],
        "throughput": [],
        "stages": {},
        "maintenance": [],
    }
