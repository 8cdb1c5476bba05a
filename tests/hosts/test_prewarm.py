"""Voices encoded by the tool, and then asked for in a process of the host that nobody edits."""

import os

import pytest

from tests.hosts.prewarm_runs import REFUSED, all_runs
from tests.hosts.test_reference import said

pytestmark = pytest.mark.timeout(600)  # three processes that load a host, whatever else is running


@pytest.fixture(scope="session")
def runs(tmp_path_factory):
    base = tmp_path_factory.getbasetemp()
    return all_runs((base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "prewarmed")


def number(runs, name):
    return [os.path.basename(voice) for voice in runs["voices"]].index(name)


FORMATS = [
    *("clear.aiff", "free.ogg", "lossless.flac", "plain.wav", "quiet.wav", "small.mp3"),
    *("speech.opus", "stereo.flac", "stereo.mp3", "stereo.ogg", "stereo.wav"),
]


def test_every_voice_is_encoded_and_what_the_host_cannot_load_is_named(runs):
    first = runs["first"]
    assert first["code"] == 1
    assert (first["said"]["new"], first["said"]["failed"]) == (len(FORMATS), len(REFUSED))
    failures = {os.path.basename(f["voice"]): f["why"] for f in first["said"]["failures"]}
    assert failures.keys() == set(REFUSED)
    assert all(why.startswith("the host says: LibsndfileError") for why in failures.values())


@pytest.mark.parametrize("name", FORMATS)
def test_the_host_finds_the_whole_preparation_of_a_voice(name, runs):
    step = 1 + 2 * number(runs, name)
    assert said(runs["asked"], step) == [("hit disk", "preprocess_prompt_wav")]


@pytest.mark.parametrize("name", FORMATS)
def test_the_host_finds_the_tokens_of_a_voice(name, runs):
    step = 2 + 2 * number(runs, name)
    assert said(runs["asked"], step) == [("hit disk", "wav2token")]


def test_the_host_gets_what_it_would_have_made(runs):
    prepared, _ = runs["asked"]["steps"][1]
    types = ["list", "list", "list", "torch.float32", "torch.int32", "torch.float32"]
    assert [part["type"] for part in prepared["items"]] == types
    assert all(part["items"] for part in prepared["items"])


def test_explain_says_which_ingredient_made_a_miss(runs):
    assert runs["changed"]["code"] == 1
    (voice,) = runs["changed"]["said"]
    outer = voice["calls"][0]
    (text,) = [difference["text"] for difference in outer["nearest"][0]["differences"]]
    assert text.startswith("setting k-means: ")
    states = {call["method"].split(".")[-1]: call["state"] for call in voice["calls"]}
    assert states["extract_spk_embedding/1"] == "there"
    assert states["wav2token/1"] == "not there"


@pytest.mark.parametrize("number", range(3))
def test_a_deployment_that_watches_a_folder_has_its_voices_before_they_are_asked_for(number, runs):
    assert said(runs["watched"], 2 + number) == [("hit disk", "preprocess_prompt_wav")]


def test_it_encodes_them_by_the_model_that_it_has_loaded_anyway(runs):
    lines = runs["watched"]["start"]  # all of them
    assert sum("miss" in line and "wav2token" in line for line in lines) == 3
    assert sum("StepAudioTokenizer" in line and "cached in" in line for line in lines) == 1
