"""A real SDK provider in place of the process's own, and the spans it has seen end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_runs.instrument import problems, propagate


class Spans:
    """The spans that have ended, found by name."""

    def __init__(self, provider: TracerProvider, exporter: InMemorySpanExporter) -> None:
        self.provider = provider
        self._exporter = exporter

    def all(self, name: str | None = None) -> list[ReadableSpan]:
        """In the order of their ends."""
        return [span for span in self._exporter.get_finished_spans() if name in {None, span.name}]

    def names(self) -> list[str]:
        return [span.name for span in self.all()]

    def one(self, name: str) -> ReadableSpan:
        found = self.all(name)
        assert len(found) == 1, f"{len(found)} spans are named {name}; there are {self.names()}"
        return found[0]

    def attributes(self, name: str) -> dict[str, Any]:
        return dict(self.one(name).attributes or {})

    def parent(self, name: str) -> str | None:
        """The name of a span's parent."""
        parent = self.one(name).parent
        if parent is None:
            return None
        return next(span.name for span in self.all() if span.context and span.context.span_id == parent.span_id)


@pytest.fixture(autouse=True)
def nothing_told_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test starts like a process that was started by nobody and has logged nothing."""
    for variable in (
        "TRACEPARENT",
        "TRACESTATE",
        "BAGGAGE",
        "OTEL_RUNS_STRICT",
        "OTEL_RUNS_DB",
        "OTEL_TRACES_EXPORTER",
    ):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(problems, "_told", set())
    propagate._started_with.cache_clear()


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[Spans]:
    """A provider that hears everything. The API lets it be set once a process, so it is swapped from inside."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    yield Spans(provider, exporter)
    provider.shutdown()


@pytest.fixture
def no_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process in which nobody has set a provider."""
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
