"""What a sampler leaves out goes to an endpoint as log records, and is kept for it while it is away."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import Status, StatusCode

from otel_runs.counters import counters
from otel_runs.export import unsampled
from otel_runs.export.logs_service import Answer, LogsService, Options
from otel_runs.export.otlp import OtlpExporter, otlp_exporter
from otel_runs.export.processor import RunsSpanProcessor
from otel_runs.export.sampling import record_unsampled
from otel_runs.export.spooled import SpooledExporter
from otel_runs.spans.from_otlp_protobuf import started_spans_from_protobuf_logs
from otel_runs.spool.spool import Spool
from otel_runs.spool.status import status
from tests.programs import Programs
from tests.servers.ports import free_port
from tests.spans.otlp import LIMITS
from tests.waiting import wait_until

pytestmark = pytest.mark.usefixtures("_counters_at_zero")


class Backend:
    """What stands behind the exporters that are made: what it answers, and what it got."""

    def __init__(self) -> None:
        self.takes_traces = True
        self.logs = Answer.TAKEN
        self.refuses = ""
        self.traces: list[str] = []
        self.records: list[str] = []
        self.requests = 0

    def exporter(self) -> OtlpExporter:
        return OtlpExporter(lambda: Traces(self), Logs(self), takes_unsampled=True)


class Traces(InMemorySpanExporter):
    def __init__(self, backend: Backend) -> None:
        super().__init__()
        self._backend = backend

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        if not self._backend.takes_traces:
            return SpanExportResult.FAILURE
        self._backend.traces += [span.name for span in spans]
        return SpanExportResult.SUCCESS


class Logs(LogsService):
    def __init__(self, backend: Backend) -> None:
        super().__init__(Options(None, {}))
        self._backend = backend

    def _connect(self) -> None:
        pass

    def _send(self, body: bytes) -> Answer:
        self._backend.requests += 1
        names = [span.name for span in started_spans_from_protobuf_logs(body, LIMITS).spans if span.end_ns]
        if self._backend.refuses in names:
            return Answer.REFUSED
        if self._backend.logs is Answer.TAKEN:
            self._backend.records += names
        return self._backend.logs


class ByName(Sampler):
    """Takes what is called so."""

    def should_sample(self, *args: object, **_: object) -> SamplingResult:
        is_taken = str(args[2]).startswith("sampled")
        return SamplingResult(Decision.RECORD_AND_SAMPLE if is_taken else Decision.DROP)

    def get_description(self) -> str:
        return "ByName"


def spans_of(*names: str) -> list[ReadableSpan]:
    """Ended spans; those whose name begins so are sampled."""
    found: list[ReadableSpan] = []

    class Seen(InMemorySpanExporter):
        takes_unsampled = True

        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            found.extend(spans)
            return SpanExportResult.SUCCESS

    provider = TracerProvider(sampler=ByName(), shutdown_on_exit=False)
    provider.add_span_processor(RunsSpanProcessor(Seen()))
    record_unsampled(provider)
    for name in names:
        span = provider.get_tracer("tests").start_span(name)
        span.set_status(Status(StatusCode.ERROR, "no rows"))
        span.end()
    provider.shutdown()
    return found


@pytest.fixture
def backend() -> Backend:
    return Backend()


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool", max_bytes=10**7, sync=False)


@pytest.fixture
def exporter(backend: Backend, spool: Spool) -> Iterator[SpooledExporter]:
    made = SpooledExporter(backend.exporter, spool)
    yield made
    made.shutdown()


def test_each_span_goes_one_way(backend: Backend, exporter: SpooledExporter) -> None:
    assert exporter.takes_unsampled
    assert exporter.export(spans_of("a", "sampled", "b")) is SpanExportResult.SUCCESS
    assert (backend.traces, backend.records) == (["sampled"], ["a", "b"])


@pytest.mark.parametrize("names", [("a", "b"), ("a", "sampled", "b")])
def test_what_was_not_taken_is_kept_and_goes_the_same_way_later(
    names: tuple[str, ...], backend: Backend, spool: Spool, exporter: SpooledExporter
) -> None:
    backend.logs = Answer.LATER
    assert exporter.export(spans_of(*names)) is SpanExportResult.FAILURE
    assert status(spool.folder).spans == counters.read().spans_spooled == 2
    assert b"resourceSpans" not in b"".join(path.read_bytes() for path in spool.folder.iterdir())

    backend.logs = Answer.TAKEN
    exporter.export(spans_of("c"))
    wait_until(lambda: status(spool.folder).files == 0, what="the replay")

    assert sorted(backend.records) == ["a", "b", "c"]
    assert backend.traces == [name for name in names if name == "sampled"]


def test_all_that_was_kept_is_divided_again(backend: Backend, spool: Spool, exporter: SpooledExporter) -> None:
    backend.logs, backend.takes_traces = Answer.LATER, False
    exporter.export(spans_of("a", "sampled", "b"))
    assert status(spool.folder).spans == 3

    backend.logs, backend.takes_traces = Answer.TAKEN, True
    exporter.export(spans_of("c"))
    wait_until(lambda: status(spool.folder).files == 0, what="the replay")

    assert (sorted(backend.records), backend.traces) == (["a", "b", "c"], ["sampled"])


def test_what_is_refused_for_good_is_put_in_quarantine(
    backend: Backend, spool: Spool, exporter: SpooledExporter
) -> None:
    backend.refuses = "bad"
    exporter.export(spans_of("a", "bad", "b"))
    exporter.export(spans_of("c"))
    wait_until(lambda: status(spool.folder).files == 0, what="the replay")

    assert set(backend.records) == {"a", "b", "c"}
    assert status(spool.folder).quarantined == 1


def test_endpoint_that_takes_no_logs_gets_none_and_that_is_said_once_and_counted(
    backend: Backend,
    spool: Spool,
    exporter: SpooledExporter,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "otel_runs")
    backend.logs = Answer.UNKNOWN
    for _ in range(3):
        exporter.export(spans_of("a", "sampled", "b"))

    assert (backend.traces, backend.requests, counters.read().spans_dropped) == (["sampled"] * 3, 1, 6)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "the OTLP endpoint takes no logs" in caplog.text
    assert not spool.holds_files()


def test_endpoint_that_took_no_logs_is_asked_again_after_a_pause(
    backend: Backend, exporter: SpooledExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unsampled, "PAUSE_SECONDS", 0.0)
    backend.logs = Answer.UNKNOWN
    exporter.export(spans_of("a"))
    backend.logs = Answer.TAKEN
    exporter.export(spans_of("b"))

    assert backend.records == ["b"]


def test_what_was_kept_ends_in_quarantine_if_the_endpoint_takes_no_logs_any_more(
    backend: Backend, spool: Spool, exporter: SpooledExporter
) -> None:
    backend.logs = Answer.LATER
    exporter.export(spans_of("a"))
    backend.logs = Answer.UNKNOWN
    exporter.export(spans_of("sampled"))
    wait_until(lambda: status(spool.folder).files == 0, what="the replay")

    assert status(spool.folder).quarantined == 1
    kept = b"".join(path.read_bytes() for path in spool.quarantine_folder.iterdir())
    assert kept.count(b"takes no logs, and this span is not sampled") == kept.count(b'"otel_runs.span.ended"') == 1


def test_without_a_spool_what_is_not_taken_is_dropped_and_counted(
    backend: Backend, caplog: pytest.LogCaptureFixture
) -> None:
    backend.logs = Answer.LATER
    exporter = backend.exporter()
    assert exporter.export(spans_of("a", "sampled")) is SpanExportResult.FAILURE
    assert (backend.traces, counters.read().spans_dropped) == (["sampled"], 1)
    assert "1 span that is not sampled is dropped" in caplog.text


def test_exporter_beside_a_database_does_not_ask_for_them() -> None:
    assert not otlp_exporter("http://127.0.0.1:1").takes_unsampled
    assert otlp_exporter("http://127.0.0.1:1", takes_unsampled=True).takes_unsampled
    assert not OtlpExporter(InMemorySpanExporter, None, takes_unsampled=True).takes_unsampled


def test_what_is_left_when_a_process_ends_waits_as_log_records(programs: Programs) -> None:
    done = programs.python(
        f"""
        import otel_runs
        from otel_runs import run, step
        otel_runs.configure("none", otlp_endpoint="http://127.0.0.1:{free_port()}")
        with run("nightly"), step("load"): pass
        """,
        environ={"OTEL_TRACES_SAMPLER": "always_off"},
    )

    assert done.returncode == 0, done.stderr
    [folder] = (programs.folder / ".otel_runs" / "spool").iterdir()
    text = b"".join(path.read_bytes() for path in folder.iterdir() if path.is_file())
    assert status(folder).spans == text.count(b'"otel_runs.span.ended"') == 2
    assert b"resourceSpans" not in text
