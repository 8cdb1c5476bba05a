"""The reference host, which nobody edits, with and without the variable."""

import os
import re

import pytest

from tests.hosts.runs import HOST, all_runs

pytestmark = pytest.mark.timeout(600)  # five processes that load a host, whatever else is running

TOKENS, TEXT, TEXT_AGAIN, STREAM, STREAM_AGAIN, PROMPT, MODULES = range(1, 8)


@pytest.fixture(scope="session")
def runs(tmp_path_factory):
    base = tmp_path_factory.getbasetemp()
    return all_runs((base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "reference")


def results(run):
    return [result for result, _ in run["steps"]]


def events(lines):
    """What was said of cached methods: (what happened, which method)."""
    found = [re.match(r"stepaudio-cas: (miss|hit \S+) \w+ \w+\.\w+\.(\w+)/", x) for x in lines]
    return [(m[1], m[2]) for m in found if m]


def said(run, step):
    return events(run["steps"][step][1])


def test_the_host_knows_nothing_of_us():
    text = "".join(path.read_text().lower() for path in HOST.glob("*.py"))
    assert "class stepaudiotokenizer" in text
    assert not re.findall("stepaudio.?cas|blake3|cas-tool", text)


def test_without_the_variable_nothing_of_ours_is_loaded_or_said(runs):
    assert results(runs["plain"])[MODULES] == []
    assert runs["plain"]["start"] == []


def test_with_the_variable_the_host_s_classes_are_announced_once(runs):
    announced = [line for line in runs["first"]["start"] if " cached in " in line]
    classes = [re.search(r"\.(\w+): [\w, ]+ cached in ", line)[1] for line in announced]
    others = ["AutoModel"]  # FunASR's, which the tokenizer has
    assert sorted(classes) == [*others, "CosyVoiceFrontEnd", "StepAudioTTS", "StepAudioTokenizer"]
    assert "stepaudio_cas_plugins.stepaudio" in results(runs["first"])[MODULES]


def test_a_first_process_misses_and_computes_exactly_what_the_host_computes(runs):
    plain, first = runs["plain"], runs["first"]
    for step in (TOKENS, TEXT, STREAM, STREAM_AGAIN, PROMPT):
        assert results(first)[step] == results(plain)[step]
    assert said(first, TOKENS) == [("miss", "wav2token")]


def test_a_second_process_hits_and_gets_the_same_tokens_of_the_same_types(runs):
    first, second = results(runs["first"])[TOKENS], results(runs["second"])[TOKENS]
    assert said(runs["second"], TOKENS) == [("hit disk", "wav2token")]
    assert second == first
    assert (second["type"], second["of"]) == ("tuple", ["list"])
    assert [(part["type"], part["of"]) for part in second["items"]] == [("list", ["int"])] * 3


def test_the_whole_preparation_of_a_recording_is_one_hit(runs):
    assert ("miss", "preprocess_prompt_wav") in said(runs["first"], PROMPT)
    assert said(runs["second"], 2) == [("hit disk", "preprocess_prompt_wav")]
    prepared = results(runs["second"])[2]
    assert prepared == results(runs["first"])[PROMPT]
    types = ["list", "list", "list", "torch.float32", "torch.int32", "torch.float32"]
    assert [part["type"] for part in prepared["items"]] == types


def test_calling_the_tokenizer_is_cached_once_through_wav2token(runs):
    first = runs["first"]
    assert said(first, TEXT) == [("miss", "wav2token")]
    assert said(first, TEXT_AGAIN) == [("hit memory", "wav2token")]
    assert results(first)[TEXT_AGAIN] == results(first)[TEXT]
    assert results(first)[TEXT].startswith("<audio_")


def test_streaming_sessions_are_never_cached(runs):
    for run in ("plain", "first"):
        one, two = results(runs[run])[STREAM].values()
        assert len(one) == len(two) > 50
    assert said(runs["first"], STREAM) == said(runs["first"], STREAM_AGAIN) == []


def test_the_host_goes_on_when_the_store_is_deleted_under_it(runs):
    assert results(runs["second"])[4] == results(runs["plain"])[TOKENS]
    assert said(runs["second"], 4) == [("miss", "wav2token")]


def test_read_only_reads_and_writes_nothing(runs):
    reader = runs["read-only"]
    assert results(reader)[1] == results(runs["first"])[TOKENS]
    assert said(reader, 1) == [("hit disk", "wav2token")]
    assert said(reader, 2) == [("miss", "wav2token")]
    assert runs["written while read-only"] == []


@pytest.mark.parametrize("step", [5, 9], ids=["code book", "encoder"])
def test_a_model_file_swapped_under_the_same_path_is_a_miss(runs, step):
    reader = runs["read-only"]
    assert said(reader, step) == [("miss", "wav2token")]
    original, swapped = results(reader)[1], results(reader)[step]
    assert swapped["items"][1] != original["items"][1]
    assert swapped["items"][2] == original["items"][2]


def test_the_model_put_back_is_a_hit_again(runs):
    reader = runs["read-only"]
    (how, method), *more = said(reader, 12)
    assert (how.split()[0], method, more) == ("hit", "wav2token", [])
    assert results(reader)[12] == results(reader)[1]


def test_the_service_answers_a_second_request_from_the_cache(runs):
    first, second = runs["service"]["answers"]
    assert first == second
    assert (first["type"], first["begins"]) == ("audio/wav", "RIFF")


def test_the_service_s_operator_sees_the_miss_and_the_hit_whatever_is_done_to_logging(runs):
    seen = [e for e in events(runs["service"]["said"]) if e[1] == "preprocess_prompt_wav"]
    assert seen == [("miss", "preprocess_prompt_wav"), ("hit memory", "preprocess_prompt_wav")]
    assert "stepaudio-cas" not in runs["service"]["stdout"]
