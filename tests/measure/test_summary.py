"""Many measurements in a few figures."""

import pytest

from stepaudio_cas.measure import summary


def test_percentiles_are_values_that_were_measured():
    values = [5.0, 1.0, 4.0, 2.0, 3.0]
    assert [summary.percentile(values, share) for share in (0.0, 0.5, 0.6, 0.95, 1.0)] == [
        *(1.0, 3.0, 3.0, 5.0, 5.0),
    ]
    assert summary.percentile(list(range(1, 101)), 0.95) == 95
    assert summary.percentile([2.0], 0.99) == 2.0


def run(encode, llm, hit):
    alone = {"encode": encode, "llm": llm, "vocoder": 0.0, "other": 0.0, "total": encode + llm}
    return {"alone": alone, "cold": alone, "cached": alone | {"encode": hit, "total": hit + llm}}


def test_stages_that_were_never_met_are_left_out():
    found = summary.stages([run(3.0, 1.0, 0.5), run(1.0, 1.0, 0.5), run(2.0, 1.0, 0.5)])
    assert list(found["alone"]) == ["encode", "llm", "total"]
    assert found["alone"]["encode"] == {"median": 2.0, "min": 1.0, "max": 3.0}
    assert found["cached"]["total"]["median"] == 1.5
    assert summary.encode_share(found) == pytest.approx(2 / 3)
    assert summary.saved_share(found) == pytest.approx(1.5 / 3)


def test_a_host_that_encodes_nothing_saves_nothing():
    found = summary.stages([run(0.0, 1.0, 0.0)])
    assert (summary.encode_share(found), summary.saved_share(found)) == (0.0, 0.0)


def test_throughput_is_set_beside_requests_without_a_cache_and_the_ideal():
    rounds = [
        {"alone": 2.0, "latencies": [2.0, 0.5]},
        {"alone": 3.0, "latencies": [3.0, 1.0]},
        {"alone": 4.0, "latencies": [4.0, 0.0]},
    ]
    row = summary.throughput(0.5, rounds, 0.8)
    assert row["requests"] == 6
    assert row["per_second"] == pytest.approx(6 / 10.5)
    assert row["alone_per_second"] == pytest.approx(3 / 9)
    assert row["speedup"] == {"median": 1.6, "min": 1.5, "max": 2.0}
    assert (row["ideal"], row["reachable"]) == (2.0, pytest.approx(1 / 0.6, abs=1e-6))
    assert row["latency"] == {"p50": 1.0, "p95": 4.0, "p99": 4.0}
    assert summary.throughput(1.0, rounds, 0.8)["ideal"] is None
    assert summary.throughput(1.0, rounds, 0.8)["reachable"] == 5.0
