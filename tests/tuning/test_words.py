"""The words of `STEPAUDIO_CAS_TUNE`."""

import pytest

from stepaudio_cas.tuning.words import WORDS, parse, show, wanted

ALL = (
    "tf32,compile=max-autotune,encoder=iic/small,ort.graph=all,ort.intra=4,ort.inter=2,"
    "ort.parallel,ort.providers=tensorrt:cuda:cpu,ort.engines=/srv/engines,llm=4bit,attention=sdpa"
)


def test_every_word_is_read_and_shown_as_it_was_written():
    plan, troubles = parse(ALL)
    assert troubles == []
    assert set(plan) == set(WORDS)
    assert plan["ort.intra"] == 4
    assert plan["ort.providers"] == ("tensorrt", "cuda", "cpu")
    assert show(plan) == ALL
    assert show(plan, "tf32", "ort.intra") == "tf32,ort.intra=4"


def test_spaces_capitals_and_empty_places_do_not_matter():
    assert parse(" TF32 , Ort.Graph = ALL ,, compile=default ") == (
        {"tf32": True, "ort.graph": "all", "compile": True},
        [],
    )


@pytest.mark.parametrize("text", ["", "  ", "0", "off", "no", "False"])
def test_off_is_no_plan_and_no_trouble(text):
    assert parse(text) == ({}, [])


@pytest.mark.parametrize(
    ("bad", "allowed"),
    [
        ("tf23", "there are tf32, compile"),
        ("tf32=yes", "tf32=yes is not used: it takes no value"),
        ("ort.graph", "one of off, basic, extended, all"),
        ("ort.graph=most", "one of off, basic, extended, all"),
        ("ort.intra=0", "from 1 to 1024"),
        ("ort.intra=four", "from 1 to 1024"),
        ("ort.inter=1025", "from 1 to 1024"),
        ("ort.providers=gpu", "one or more of tensorrt, cuda"),
        ("ort.providers=cpu:cpu", "one or more of tensorrt, cuda"),
        ("compile=fast", "one of default, reduce-overhead"),
        ("encoder=", "it needs a value"),
        ("llm=2bit", "one of 4bit, 8bit"),
        ("attention=flash", "one of eager, sdpa"),
        ("=", "no word ''"),
    ],
)
def test_a_word_that_cannot_be_used_is_named_with_what_is_allowed_and_the_rest_counts(bad, allowed):
    plan, (trouble,) = parse(f"ort.parallel,{bad},ort.engines=x")
    assert plan == {"ort.parallel": True, "ort.engines": "x"}
    assert trouble.startswith("STEPAUDIO_CAS_TUNE: ")
    assert allowed in trouble


def test_a_word_that_is_there_twice_counts_once():
    plan, (trouble,) = parse("ort.intra=2,ort.intra=4")
    assert plan == {"ort.intra": 2}
    assert "ort.intra is there twice; ort.intra=2 counts" in trouble


def test_words_may_stand_in_the_file_that_is_named(tmp_path):
    file = tmp_path / "cas.toml"
    file.write_text('tune = ["tf32", "ort.intra=4"]\n')
    environment = {"STEPAUDIO_CAS_CONFIG": str(file)}
    assert wanted(environment) == ({"tf32": True, "ort.intra": 4}, [])
    environment["STEPAUDIO_CAS_TUNE"] = "compile"
    assert wanted(environment)[0] == {"compile": True}
