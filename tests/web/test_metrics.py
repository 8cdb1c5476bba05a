"""Prometheus: what is told, the alerts, the dashboard that uses no metric that there is not."""

import json
import math
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open
from prometheus_client.parser import text_string_to_metric_families as parse

from stepaudio_cas.errors import Bypass
from stepaudio_cas.store.counters import COUNTERS
from stepaudio_cas.web import metrics
from stepaudio_cas.web.observer import Histogram, quantile
from tests.web.test_writing import watch

TOOLS = Path(__file__).parents[2] / "tools"
ALERTS = TOOLS / "prometheus" / "alerts.yml"
DASHBOARD = TOOLS / "grafana" / "stepaudio-cas.json"
NAME = re.compile(r"stepaudio_cas_\w+")


def families(client, path="/metrics", headers=None):
    return {f.name: f for f in parse(client.get(path, headers).body.decode())}


def value(found, name, **labels):
    samples = [s for family in found.values() for s in family.samples if s.name == name]
    wanted = [sample for sample in samples if labels.items() <= sample.labels.items()]
    assert len(wanted) == 1, (name, labels, samples)
    return wanted[0].value


@pytest.fixture
def used(fresh, host):
    call = host.cache.cached(version="1", name="host.tokens")(lambda audio: [len(audio)])
    for voice in (b"anna", b"anna", b"bert"):
        call(voice)
    host.cache.bypassed(Bypass("stateful"), "host.tokens")
    host.cache.recorder.error("store.disk", "no space left")
    assert host.cache.flush()
    return host


def test_a_host_tells_of_itself_and_of_all_processes(used):
    found = families(used)
    assert value(found, "stepaudio_cas_hits_total", tier="memory", plugin="host.tokens") == 1
    assert value(found, "stepaudio_cas_misses_total", plugin="host.tokens") == 2
    assert value(found, "stepaudio_cas_bypasses_total", reason="stateful") == 1
    assert value(found, "stepaudio_cas_errors_total", kind="store.disk") == 1
    assert value(found, "stepaudio_cas_breaker_open", tier="disk", verb="reading") == 0
    url = used.cache.chain.tiers[0].store.url
    assert value(found, "stepaudio_cas_store_misses_total", store=url) == 2
    assert value(found, "stepaudio_cas_entries", tier="disk", store=url) == 2
    assert value(found, "stepaudio_cas_store_up", tier="disk") == 1


def test_histograms_are_cumulative_and_complete(used):
    family = families(used)["stepaudio_cas_encode_seconds"]
    buckets = [s.value for s in family.samples if s.name.endswith("_bucket")]
    assert buckets == sorted(buckets)
    assert buckets[-1] == value({family.name: family}, f"{family.name}_count") == 2
    assert value({family.name: family}, f"{family.name}_sum") > 0


def test_every_counter_is_told_and_its_help_says_whose_it_is(used):
    found = families(used)
    ours = {ours.rstrip(".") for ours, *_ in metrics._COUNTED}
    assert ours == {name.partition(".shared")[0].rstrip(".") for name in COUNTERS} - {
        "seconds.lookup", "shadow.equal", "shadow.different",
    } | {"shadow"}  # fmt: skip
    for name, family in found.items():
        if family.type == "counter":
            whose = "all processes" if "_store_" in name else "in this process"
            assert whose in family.documentation, name


def test_openmetrics_is_told_to_who_wants_it(used):
    accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
    answer = used.get("/api/v1/metrics", accept)
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert "stepaudio_cas_hits" in {family.name for family in parse_open(answer.body.decode())}


def test_standalone_there_is_no_process_of_its_own(api):
    found = families(api)
    assert "stepaudio_cas_hits" not in found
    assert value(found, "stepaudio_cas_store_misses_total") == 4
    assert "stepaudio_cas_limit_bytes" not in {s.name for f in found.values() for s in f.samples}


def test_a_limit_is_told(serve):
    found = families(serve(settings={"max_size": 10**9}))
    assert value(found, "stepaudio_cas_limit_bytes", tier="disk") == 10**9


def test_watched_folders_are_told_of(api):
    watch(api, "/srv/voices", in_hand=[{"voice": "a", "since": time.time() - 7.5}])
    found = families(api)
    assert value(found, "stepaudio_cas_prewarm_up", folder="/srv/voices") == 1
    assert value(found, "stepaudio_cas_prewarm_in_hand_seconds") >= 7.5
    assert value(found, "stepaudio_cas_prewarm_voices", state="done") == 1


def test_quantiles_lie_between_the_bounds():
    histogram = Histogram((1.0, 2.0, 4.0))
    assert quantile([histogram], 0.5) is None
    for seconds in (0.5, 1.5, 1.6, 3.0, 100.0):
        histogram.add(seconds)
    assert quantile([histogram], 0.5) == pytest.approx(1.75)
    assert quantile([histogram], 1.0) == 4.0
    assert histogram.cumulative()[-1] == ("+Inf", 5.0)
    assert math.isclose(histogram.sum, 106.6)


def known(used):
    samples = set()
    for family in families(used).values():
        kinds = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum")}
        samples |= {family.name + end for end in kinds.get(family.type, ("",))}
    return samples


@pytest.mark.parametrize("path", [ALERTS, DASHBOARD], ids=["alerts", "dashboard"])
def test_no_metric_is_asked_for_that_there_is_not(used, path):
    asked = set(NAME.findall(path.read_text()))
    assert len(asked) > 8
    assert asked - known(used) == set()


def test_the_dashboard_is_one_and_every_panel_asks_something():
    board = json.loads(DASHBOARD.read_text())
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    variables = {variable["name"] for variable in board["templating"]["list"]}
    for panel in board["panels"]:
        assert panel["targets"]
        for target in panel["targets"]:
            used = set(re.findall(r"\$\{?(\w+)", target["expr"])) - {"__rate_interval", "__range"}
            assert used <= variables
    boxes = [panel["gridPos"] for panel in board["panels"]]
    assert all(box["x"] + box["w"] <= 24 for box in boxes)


def promtool(*words):
    found = shutil.which("promtool")
    assert found, "promtool is not installed: tools/setup installs it"
    done = subprocess.run(
        [found, *map(str, words)], check=False, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_alerts_are_rules_and_fire_when_they_should():
    promtool("check", "rules", ALERTS)
    promtool("test", "rules", ALERTS.with_name("alerts.test.yml"))


def test_every_alert_is_tested_both_ways():
    tests = ALERTS.with_name("alerts.test.yml").read_text()
    for alert in re.findall(r"alert: (\w+)", ALERTS.read_text()):
        assert re.search(rf"{{alertname: {alert}, eval_time", tests), alert
        assert re.search(rf"alertname: {alert}\n", tests), alert


def test_what_is_told_is_what_prometheus_reads(used, tmp_path):
    found = shutil.which("promtool")
    text = used.get("/metrics").body
    done = subprocess.run(
        [found, "check", "metrics"], input=text, capture_output=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_query_of_each_panel_is_one_of_prometheus(tmp_path):
    board = json.loads(DASHBOARD.read_text())
    rules = [
        {"expr": re.sub(r"\$__(rate_interval|range)", "5m", target["expr"])}
        for panel in board["panels"]
        for target in panel["targets"]
    ]  # fmt: skip
    for number, rule in enumerate(rules):
        rule["record"] = f"panel:query:{number}"
    path = tmp_path / "rules.json"  # JSON is YAML, too
    path.write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))
    promtool("check", "rules", path)
