"""The transcription service, which nobody edits, over HTTP: cached by the variable alone."""

import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from tests.hosts.speech import write_speech
from tests.hosts.transcribing import HOST, Client, Service
from tests.plugins.listening import import_quietly, make_model


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("sensevoice"), dither=0.0)


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recordings")
    return [write_speech(folder / f"{n}.wav", 1, seed=n, rate=16000) for n in range(4)]


@pytest.fixture(scope="module")
def recordings(paths):
    return [Path(path).read_bytes() for path in paths]


@pytest.fixture(scope="module")
def services(model, tmp_path_factory):
    """Two processes of the service that share a store."""
    folder = tmp_path_factory.mktemp("services")
    with ThreadPoolExecutor(2) as pool:
        start = lambda n: Service(model, folder / f"log{n}", STEPAUDIO_CAS=folder / "store")  # noqa: E731
        started = list(pool.map(start, range(2)))
    yield started
    for service in started:
        service.close()


@pytest.fixture(scope="module")
def texts(model, paths):
    """What the package hears by itself."""
    for name in ("librosa.core.audio", "audioread.rawread"):
        import_quietly(name)
    heard = import_quietly("funasr_onnx").SenseVoiceSmall(model, intra_op_num_threads=1)
    tidy = import_quietly("funasr_onnx.utils.postprocess_utils").rich_transcription_postprocess
    return [tidy(heard(path, language="en", textnorm="withitn")[0]) for path in paths]


def asked(service, recordings, batches=(), language="en"):
    with closing(Client(service.url)) as client:
        texts = [client.transcribe(recording, language=language) for recording in recordings]
        return texts, [client.transcribe_batch(batch, language=language) for batch in batches]


def events(service):
    return [
        found[1]
        for x in service.said()
        if (found := re.match(r"stepaudio-cas: (miss|hit \w+) ", x))
    ]


def test_the_service_knows_nothing_of_us():
    text = "".join(path.read_text().lower() for path in HOST.glob("*.py"))
    assert "sensevoicesmall(" in text
    assert not re.findall("stepaudio|cas-tool|blake3", text)


def test_uploads_are_heard_once_whatever_process_they_come_to(services, recordings, texts):
    first, second = services
    [a, b, c, d], [at, bt, ct, dt] = recordings, texts
    assert len(set(texts)) == 4
    assert asked(first, [a, b, a], [[b, c, a]]) == ([at, bt, at], [[bt, ct, at]])
    assert events(first) == ["miss", "miss", "hit memory", "hit memory", "hit memory", "miss"]
    assert asked(second, [c, d, b], [[d, a]]) == ([ct, dt, bt], [[dt, at]])
    assert events(second) == ["hit disk", "miss", "hit disk", "hit memory", "hit disk"]


def test_many_clients_at_once_have_each_recording_heard_once(services, recordings):
    before = [len(events(service)) for service in services]
    with ThreadPoolExecutor(8) as pool:
        ask = lambda n: asked(services[n % 2], recordings, language="ja")[0]  # noqa: E731
        answers = list(pool.map(ask, range(8)))
    assert answers == [answers[0]] * 8
    said = [events(service)[past:] for service, past in zip(services, before, strict=True)]
    assert [len(lines) for lines in said] == [16, 16]
    assert sum(lines.count("miss") for lines in said) == 4
