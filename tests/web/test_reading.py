"""What can be asked, standalone."""

import json

import pytest

from stepaudio_cas.cli.main import main
from stepaudio_cas.store.store import Store
from stepaudio_cas.store.urls import open_backend
from tests.support.processes import wait_until

V1 = "/api/v1"


def test_stats_are_those_of_the_tool(still, capsys):
    said = still.get(f"{V1}/stats").json
    main(["--store", said["store"], "stats", "--json"])
    expected = json.loads(capsys.readouterr().out)
    assert {name: said[name] for name in expected} == expected
    assert (said["entries"], said["hits"], said["misses"], said["process"]) == (4, 3, 4, None)


@pytest.mark.parametrize("path", [f"{V1}/stats", "/api/cache/stats"])
def test_stats_that_are_known_are_not_sent_again(still, path):
    first = still.get(path)
    again = still.get(path, {"If-None-Match": first.headers["etag"]})
    assert (first.status, again.status, again.body) == (200, 304, b"")
    assert still.get(path, {"If-None-Match": '"other"'}).status == 200


def test_deep_stats_say_what_there_is_of_each_plugin(still):
    plugins = still.get(f"{V1}/stats", deep="true").json["by_plugin"]
    assert {name: line["entries"] for name, line in plugins.items()} == {
        "host.tokens": 3,
        "host.speaker": 1,
    }


def test_entries_come_page_by_page_each_once(still):
    keys, cursor = [], ""
    while cursor is not None:
        query = {"cursor": cursor} if cursor else {}
        said = still.get(f"{V1}/entries", limit=3, **query).json
        keys += [entry["key"] for entry in said["entries"]]
        cursor = said["cursor"]
    assert len(keys) == 4
    assert keys == sorted(set(keys))


def test_entries_are_found_by_plugin_size_and_key(still):
    every = still.get(f"{V1}/entries").json["entries"]
    (speaker,) = still.get(f"{V1}/entries", plugin="host.speaker").json["entries"]
    assert speaker["plugin"] == "host.speaker"
    assert still.get(f"{V1}/entries", q=speaker["key"][:10]).json["entries"] == [speaker]
    assert still.get(f"{V1}/entries", larger="1MB").json["entries"] == []
    assert still.get(f"{V1}/entries", q="nobody*").json["entries"] == []
    largest = still.get(f"{V1}/entries", sort="size", limit=2).json["entries"]
    assert [e["size"] for e in largest] == sorted((e["size"] for e in every), reverse=True)[:2]


def test_a_key_that_is_not_there_is_an_empty_list(still):
    assert still.get(f"{V1}/entries", q="f" * 64).json["entries"] == []


@pytest.mark.parametrize(
    "query", [{"cursor": "../etc"}, {"older": "soon"}, {"limit": 501}, {"sort": "colour"}]
)
def test_what_cannot_be_meant_is_refused_with_a_remedy(still, query):
    answer = still.get(f"{V1}/entries", **query)
    assert answer.status in {400, 422}
    assert answer.json["error"]
    assert answer.json["remedy"]


def test_only_what_is_pinned(api, store):
    key = api.get(f"{V1}/entries").json["entries"][0]["key"]
    main(["--store", str(store), "pin", key])
    (pinned,) = api.get(f"{V1}/entries", pinned="true").json["entries"]
    assert (pinned["key"], pinned["pinned"]) == (key, True)


def test_an_entry_says_how_it_came_to_be_and_what_its_key_is_made_of(still):
    entry = still.get(f"{V1}/entries", plugin="host.tokens").json["entries"][0]
    said = still.get(f"{V1}/entry/{entry['key']}").json
    assert {name: said[name] for name in entry} == entry
    assert {"method", "input", "setting"} <= {part["part"] for part in said["made_of"]}
    assert said["content"] == "list of 3" or said["content"]
    assert said["damage"] is None


def test_an_entry_that_is_not_there(still):
    assert still.get(f"{V1}/entry/{'0' * 64}").status == 404
    assert still.get(f"{V1}/entry/..%2f..%2fetc%2fpasswd").status in {404, 422}


def test_a_damaged_entry_is_shown_as_one(api, store):
    entry = api.get(f"{V1}/entries").json["entries"][0]
    backend = Store(open_backend(str(store))).backend
    backend.put(f"v1/manifests/{entry['key'][:2]}/{entry['key']}.json", b"{")
    said = api.get(f"{V1}/entry/{entry['key']}").json
    assert (said["damage"], said["made_of"]) == ("manifest", [])


def test_misses_of_a_store_are_its_newest_entries_explained(still):
    said = still.get(f"{V1}/misses").json
    wait_until(lambda: not still.get(f"{V1}/misses").json["explaining"])
    said = still.get(f"{V1}/misses").json
    assert said["source"] == "store"
    assert len(said["misses"]) == 4
    texts = {miss["explained"]["text"] for miss in said["misses"]}
    assert any("other content" in text or "4 bytes" in text for text in texts)
    assert any("nothing in the store is like it" in text for text in texts)


def test_the_history_has_a_point_from_the_start(still):
    wait_until(lambda: still.get(f"{V1}/history").json["points"])
    (point, *_) = still.get(f"{V1}/history").json["points"]
    assert (point["hits"], point["misses"]) == (3, 4)


def test_health_is_good_when_the_store_answers(still):
    answer = still.get(f"{V1}/health")
    assert answer.status == 200
    assert [check["name"] for check in answer.json["checks"]] == ["store disk"]


def test_health_is_bad_when_it_does_not(serve, tmp_path):
    (tmp_path / "file").write_text("no folder")
    answer = serve(tmp_path / "file").get(f"{V1}/health")
    assert answer.status == 503
    assert "does not answer" in answer.json["checks"][0]["detail"]


def test_health_is_bad_when_a_watcher_has_died(api):
    state = {
        "format": 1, "folder": "/srv/voices", "status": "busy", "pid": 1, "machine": "m",
        "started": "", "beat": 4e9, "every": 10.0, "voices": {"failed": 1}, "trouble": "no mount",
    }  # fmt: skip
    (api.states / "voices-1.json").write_text(json.dumps(state))
    answer = api.get(f"{V1}/health")
    assert answer.status == 503
    assert "no mount" in answer.json["checks"][-1]["detail"]


def test_the_page_and_its_files_are_served_with_a_policy(still):
    page = still.get("/")
    assert page.status == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "unsafe" not in page.headers["content-security-policy"]
    assert still.get("/", {"If-None-Match": page.headers["etag"]}).status == 304
    assert still.get("/static/nothing.js").status == 404


@pytest.mark.parametrize(
    "path",
    ["/static/..%2f__init__.py", "/static/%2e%2e/app.py", "/static//etc/passwd", "/../etc/passwd"],
)
def test_no_path_of_a_request_leads_anywhere(still, path):
    answer = still.get(path)
    assert answer.status == 404
    assert answer.json["remedy"]


def test_every_answer_carries_the_same_protection(still):
    for path in ("/", "/nothing", f"{V1}/stats", f"{V1}/entry/x", "/metrics"):
        headers = still.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert "access-control-allow-origin" not in headers
        assert not {"set-cookie", "server"} & set(headers)


def test_the_api_describes_itself(still):
    document = still.get(f"{V1}/openapi.json").json
    assert document["openapi"].startswith("3.")
    assert {f"{V1}/stats", f"{V1}/events", f"{V1}/gc/{{plan}}/run"} <= set(document["paths"])
    assert "token" in document["components"]["securitySchemes"]
