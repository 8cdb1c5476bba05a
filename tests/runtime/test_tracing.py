"""Spans: where the host has a tracer, and nothing at all where it has none."""

import subprocess
import sys

import pytest
from opentelemetry import trace as otel
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from stepaudio_cas.runtime import tracing
from stepaudio_cas.runtime.tracing import find_tracer, trace


@pytest.fixture
def spans(monkeypatch):
    """A tracer, as a host sets one up."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(otel, "_TRACER_PROVIDER", provider)
    yield exporter
    provider.shutdown()


def tokens(cache):
    return cache.cached(version="1", name="host.tokens")(lambda audio: [len(audio)])


def test_an_encode_and_a_hit_are_spans_of_the_request(open_cache, spans):
    cache = open_cache()
    assert trace(cache.recorder)
    with otel.get_tracer("host").start_as_current_span("request"):
        tokens(cache)(b"anna")
        tokens(cache)(b"anna")
    encode, lookup, request = spans.get_finished_spans()
    assert [encode.name, lookup.name] == ["stepaudio_cas.encode", "stepaudio_cas.lookup"]
    for span in (encode, lookup):
        assert span.parent.span_id == request.context.span_id
        assert request.start_time <= span.start_time <= span.end_time <= request.end_time
        assert span.attributes["stepaudio_cas.plugin"] == "host.tokens"
    assert lookup.attributes["stepaudio_cas.tier"] == "memory"
    assert lookup.attributes["stepaudio_cas.key"] == encode.attributes["stepaudio_cas.key"]


def test_a_tracer_that_fails_is_nobodys_problem(open_cache, spans, monkeypatch):
    class Broken:
        def start_span(self, *args, **kwargs):
            raise RuntimeError("no span")

    monkeypatch.setattr(tracing, "find_tracer", Broken)
    cache = open_cache()
    assert trace(cache.recorder)
    assert tokens(cache)(b"anna") == tokens(cache)(b"anna") == [4]
    assert cache.stats()["errors"] == 0


def test_it_listens_once_however_often_it_is_asked(open_cache, spans):
    cache = open_cache()
    assert trace(cache.recorder)
    assert trace(cache.recorder)
    assert len(cache.recorder.listeners) == 1


def test_without_a_tracer_nobody_listens(open_cache, monkeypatch):
    cache = open_cache()
    assert find_tracer() is None
    monkeypatch.delitem(sys.modules, "opentelemetry.trace")
    assert not trace(cache.recorder)
    assert cache.recorder.listeners == ()


def test_nothing_of_opentelemetry_is_imported(tmp_path):
    code = (
        "import sys, stepaudio_cas as c\n"
        f"with c.open({str(tmp_path)!r}, log='off') as k:\n"
        "    k.cached(version='1')(lambda a: [1])(b'x')\n"
        "from stepaudio_cas.runtime.tracing import find_tracer; assert find_tracer() is None\n"
        "assert not any(name.startswith('opentelemetry') for name in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=100)
