"""What can be changed, with the token."""

import json
import os
import time

import pytest

import stepaudio_cas as cas
from stepaudio_cas.cli.main import main
from stepaudio_cas.web.errors import ApiError
from stepaudio_cas.web.spool import Spool
from tests.support.values import recipe
from tests.web.serving import BEARER

V1 = "/api/v1"


def keys(api, **query):
    return [entry["key"] for entry in api.get(f"{V1}/entries", **query).json["entries"]]


def age(store, seconds=7200.0):
    """Have everything in a store look as if it had been written and used long ago."""
    then = time.time() - seconds
    for folder, _, files in os.walk(store / "v1"):
        for name in files:
            os.utime(os.path.join(folder, name), (then, then))


def test_rm_says_what_it_would_free_and_then_does_it(api, store):
    age(store)
    key, *others = keys(api)
    planned = api.post(f"{V1}/rm", {"keys": [key]}).json
    assert (planned["dry_run"], planned["entries"], planned["keys"]) == (True, 1, [key])
    assert keys(api) == [key, *others]
    removed = api.post(f"{V1}/rm", {"keys": [key], "dry_run": False}).json
    assert (removed["entries"], removed["objects"]) == (1, 1)
    assert keys(api) == others


def test_rm_by_filter(api, store):
    age(store)
    said = api.post(f"{V1}/rm", {"plugin": "host.tokens", "older": "1h", "dry_run": False})
    assert said.json["entries"] == 3
    assert keys(api, plugin="host.tokens") == []
    assert len(keys(api)) == 1


@pytest.mark.parametrize("name", ["older", "larger"])
@pytest.mark.parametrize("value", [True, False])
def test_rm_by_neither_a_number_nor_text_is_refused(still, name, value):
    assert still.post(f"{V1}/rm", {name: value}).status == 422


@pytest.mark.parametrize("name", ["max_size", "max_age", "max_entries"])
def test_gc_by_neither_a_number_nor_text_is_refused(still, name):
    assert still.post(f"{V1}/gc", {name: False}).status == 422


@pytest.mark.parametrize("wish", [{}, {"words": [""]}, {"dry_run": False}])
def test_rm_of_nothing_in_particular_is_refused(still, wish):
    assert still.post(f"{V1}/rm", wish).status == 400
    assert len(keys(still)) == 4


def test_rm_of_what_is_not_there_and_of_what_is_not_one(still):
    assert still.post(f"{V1}/rm", {"keys": ["f" * 64]}).status == 404
    assert still.post(f"{V1}/rm", {"keys": ["../../etc/passwd"]}).status == 404


def test_clear_leaves_what_is_pinned(api, store):
    pinned = keys(api)[0]
    main(["--store", str(store), "pin", pinned])
    said = api.post(f"{V1}/clear", {"dry_run": False}).json
    assert (said["entries"], said["pinned"]) == (3, 1)
    assert keys(api) == [pinned]
    assert api.post(f"{V1}/clear", {"dry_run": False, "pinned_too": True}).json["entries"] == 1


def test_the_clear_of_the_recipes_clears(api):
    assert api.ask("POST", "/api/cache/clear", None, BEARER).json["entries"] == 4
    assert keys(api) == []


def test_a_plan_of_gc_says_what_goes_and_is_carried_out_once(api, store):
    age(store)
    planned = api.post(f"{V1}/gc", {"max_entries": 1}).json
    assert planned["summary"]["going"]["entries"] == 3
    assert planned["summary"]["removed"] is None
    assert len(keys(api)) == 4
    done = api.post(f"{V1}/gc/{planned['plan']}/run")
    assert done.json["summary"]["removed"]["entries"] == 3
    assert len(keys(api)) == 1
    assert api.post(f"{V1}/gc/{planned['plan']}/run").status == 409


def test_what_was_used_since_the_plan_stays(api, store, open_cache):
    age(store)
    planned = api.post(f"{V1}/gc", {"max_age": "1h"}).json
    assert planned["summary"]["going"]["entries"] == 4
    with open_cache(memory=0) as cache:
        cache.cached(version="1", name="host.tokens")(lambda audio: [len(audio)] * 3)(b"anna")
    removed = api.post(f"{V1}/gc/{planned['plan']}/run").json["summary"]["removed"]
    assert (removed["entries"], removed["spared"]) == (3, 1)


@pytest.mark.parametrize(
    "wish", [{"max_size": "much"}, {"keep_models": ["zz"]}, {"policy": "oldest"}, {"max_age": -1}]
)
def test_a_gc_that_makes_no_sense_is_refused(still, wish):
    answer = still.post(f"{V1}/gc", wish)
    assert answer.status in {400, 422}
    assert answer.json["remedy"]


def test_a_plan_that_nobody_made(still):
    assert still.post(f"{V1}/gc/{'0' * 32}/run").status == 409
    assert still.post(f"{V1}/gc/..%2f..%2fx/run").status in {404, 422}


def watch(api, folder, **more):
    """Say what a daemon would that watches a folder."""
    state = {
        "format": 1, "folder": str(folder), "status": "idle", "pid": os.getpid(), "machine": "m",
        "started": "", "beat": time.time() + 60, "every": 1000.0, "trouble": "", "in_hand": [],
        "voices": {"done": 1, "failed": 0, "waiting": 0, "settling": 0, "working": 0},
        "failures": [], "rate": 0.0, "seconds_left": None, **more,
    }  # fmt: skip
    (api.states / "one.json").write_text(json.dumps(state))


def test_a_voice_that_is_sent_gets_a_name_of_ours(api):
    os.makedirs(api.spool.folder)
    watch(api, api.spool.folder)
    answer = api.upload("../../etc/ann\u0101 \x00.WAV", b"RIFF" * 100)
    assert answer.status == 202
    said = answer.json
    assert (said["name"], said["bytes"]) == ("ann\u0101 .WAV", 400)
    (path,) = [name for name in os.listdir(api.spool.folder) if not name.startswith(".")]
    assert path == f"{said['id']}.wav"
    (voice,) = api.get(f"{V1}/prewarm").json["spool"]["voices"]
    assert (voice["id"], voice["name"], voice["state"]) == (said["id"], said["name"], "kept")
    assert api.ask("DELETE", f"{V1}/prewarm/upload/{said['id']}", headers=BEARER).status == 200
    assert os.listdir(api.spool.folder) == []
    assert api.ask("DELETE", f"{V1}/prewarm/upload/{said['id']}", headers=BEARER).status == 404


def test_a_recording_that_was_sent_is_given_out_for_the_token_alone(api, store):
    os.makedirs(api.spool.folder)
    watch(api, api.spool.folder)
    id_ = api.upload("anna.wav", b"RIFF" * 100).json["id"]
    where = f"{V1}/prewarm/upload/{id_}"
    assert api.get(where).status == 401
    answer = api.get(where, BEARER)
    assert (answer.body, answer.headers["content-disposition"]) == (b"RIFF" * 100, "attachment")
    assert answer.headers["content-type"] == "application/octet-stream"
    assert api.get(f"{V1}/prewarm/upload/{'0' * 32}", BEARER).status == 404
    with cas.open(store, log="off") as cache:
        label = os.path.join(api.spool.folder, f"{id_}.wav")
        cache.get_or_compute(recipe(), lambda: [1], label=label)
    (entry,) = api.get(f"{V1}/entries", q="*.wav").json["entries"]
    assert (entry["voice"], entry["recording"]) == ("anna.wav", id_)
    api.ask("DELETE", where, headers=BEARER)
    assert api.get(f"{V1}/entry/{entry['key']}").json["recording"] is None


def test_a_voice_that_failed_says_why(api):
    os.makedirs(api.spool.folder)
    watch(api, api.spool.folder)
    sent = api.upload("anna.wav", b"noise").json
    path = os.path.join(api.spool.folder, f"{sent['id']}.wav")
    watch(api, api.spool.folder, failures=[{"voice": path, "why": "no sound", "again_in": 10.0}])
    (voice,) = api.get(f"{V1}/prewarm").json["spool"]["voices"]
    assert (voice["state"], voice["why"]) == ("failed", "no sound")


def test_nothing_is_taken_in_that_nobody_would_encode(still):
    answer = still.upload("anna.wav", b"RIFF")
    assert answer.status == 409
    assert "cas-tool watch" in answer.json["remedy"]
    assert not os.path.exists(still.spool.folder)


@pytest.mark.parametrize("name", ["anna.exe", "anna", ".wav", "anna.wav/../x.sh", "anna.wav.part"])
def test_only_recordings_are_taken_in(api, name):
    os.makedirs(api.spool.folder)
    watch(api, api.spool.folder)
    assert api.upload(name, b"x").status == 415
    assert os.listdir(api.spool.folder) == []


def test_a_voice_that_is_too_large_empty_or_one_too_many_leaves_nothing(serve):
    api = serve(most_files=1)
    os.makedirs(api.spool.folder)
    watch(api, api.spool.folder)
    assert api.upload("anna.wav", b"").status == 400
    said = {"Content-Length": "65000000", **BEARER}
    assert api.ask("POST", f"{V1}/prewarm/upload?name=a.wav", None, said).status == 413
    assert os.listdir(api.spool.folder) == []
    assert api.upload("anna.wav", b"x").status == 202
    assert api.upload("bert.wav", b"x").status == 507


def test_a_voice_in_a_watched_folder_is_looked_at_again(api, tmp_path):
    folder = tmp_path / "voices"
    folder.mkdir()
    path = folder / "anna.wav"
    path.write_bytes(b"x")
    before = path.stat()
    watch(api, folder, failures=[{"voice": str(path), "why": "no sound", "again_in": None}])
    said = api.post(f"{V1}/prewarm", {"voice": "anna.wav"})
    assert (said.status, said.json["was"], said.json["why"]) == (202, "failed", "no sound")
    after = path.stat()
    assert (after.st_mtime_ns, after.st_ctime_ns > before.st_ctime_ns) == (before.st_mtime_ns, True)
    assert api.post("/api/cache/warmup", {"voice": "anna.wav"}).status == 202


@pytest.mark.parametrize("name", ["../secret.wav", "/etc/passwd", "secret.wav", "*.wav", "."])
def test_no_other_file_can_be_named(api, tmp_path, name):
    (tmp_path / "secret.wav").write_bytes(b"x")
    before = (tmp_path / "secret.wav").stat().st_ctime_ns
    (tmp_path / "voices").mkdir()
    (tmp_path / "voices" / "anna.wav").write_bytes(b"x")
    watch(api, tmp_path / "voices")
    assert api.post(f"{V1}/prewarm", {"voice": name}).status == 404
    assert (tmp_path / "secret.wav").stat().st_ctime_ns == before


def test_two_voices_of_one_name_are_told_apart_by_their_folders(api, tmp_path):
    for part in ("a", "b"):
        (tmp_path / "voices" / part).mkdir(parents=True)
        (tmp_path / "voices" / part / "anna.wav").write_bytes(b"x")
    watch(api, tmp_path / "voices")
    assert api.post(f"{V1}/prewarm", {"voice": "anna.wav"}).status == 409
    assert api.post(f"{V1}/prewarm", {"voice": "b/anna.wav"}).json["voice"] == "b/anna.wav"


def test_who_comes_while_too_many_are_sending_is_told_to_come_again(tmp_path):
    spool = Spool(str(tmp_path / "spool"), most_bytes=100, largest=100)
    with spool.begin("anna.wav"), spool.begin("bert.wav"):
        with pytest.raises(ApiError) as raised, spool.begin("clara.wav"):
            pass
        assert (raised.value.status_code, raised.value.headers["Retry-After"]) == (503, "2")
    with spool.begin("clara.wav"):
        pass
