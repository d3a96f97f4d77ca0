"""Where only an OTLP endpoint gets the spans, none is lost while it is away."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_runs.counters import Stats, stats
from otel_runs.export.otlp import OtlpExporter
from otel_runs.export.spooled import EndpointError, SpooledExporter, into_endpoint, refused_by
from otel_runs.export.spooling import spool_of_endpoint
from otel_runs.spool.spool import Spool
from otel_runs.spool.status import status
from tests.export.spans import spans_of
from tests.programs import Programs
from tests.servers.serve import Serve
from tests.spool.spans import some_spans
from tests.stored_names import names_in
from tests.waiting import wait_until

pytestmark = pytest.mark.usefixtures("_counters_at_zero")


class Endpoint:
    """What stands behind the exporters that are made: away or not, and what it refuses."""

    def __init__(self) -> None:
        self.is_away = False
        self.refuses: set[str] = set()
        self.names: set[str] = set()

    def send(self, spans: Sequence[ReadableSpan]) -> bool:
        if self.is_away or self.refuses & {span.name for span in spans}:
            return False
        self.names |= {span.name for span in spans}
        return True

    def exporter(self) -> OtlpExporter:
        return OtlpExporter(lambda: Sending(self), None)


class Sending(InMemorySpanExporter):
    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__()
        self._endpoint = endpoint

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return SpanExportResult.SUCCESS if self._endpoint.send(spans) else SpanExportResult.FAILURE


def test_what_an_endpoint_did_not_take_it_gets_when_it_takes_spans_again(tmp_path: Path) -> None:
    endpoint = Endpoint()
    spool = Spool(tmp_path / "spool", max_bytes=10**7, sync=False)
    exporter = SpooledExporter(endpoint.exporter, spool)
    endpoint.is_away = True
    assert exporter.export(spans_of("a", "b")) is SpanExportResult.FAILURE
    assert status(spool.folder).spans == 2

    endpoint.is_away = False
    assert exporter.export(spans_of("c")) is SpanExportResult.SUCCESS
    wait_until(lambda: status(spool.folder).files == 0, what="the replay")
    exporter.shutdown()

    assert endpoint.names == {"a", "b", "c"}
    assert stats() == Stats(spans_received=3, spans_stored=1, spans_spooled=2)


@pytest.mark.parametrize("is_away", [True, False])
def test_without_a_spool_the_account_says_what_is_lost(*, is_away: bool) -> None:
    endpoint = Endpoint()
    endpoint.is_away = is_away
    exporter = OtlpExporter(lambda: Sending(endpoint), None, takes_unsampled=True)

    exporter.export(spans_of("a", "b"))

    assert stats() == (Stats(spans_received=2, spans_failed=2) if is_away else Stats(spans_received=2, spans_stored=2))


def test_spans_that_a_database_in_the_process_has_are_not_counted_twice() -> None:
    Endpoint().exporter().export(spans_of("a"))
    assert stats() == Stats()


def test_what_an_endpoint_refuses_for_good_is_put_in_quarantine_and_stops_nothing(tmp_path: Path) -> None:
    endpoint = Endpoint()
    endpoint.refuses = {"bad"}
    spool = Spool(tmp_path / "spool", max_bytes=10**7, sync=False)
    exporter = SpooledExporter(endpoint.exporter, spool)
    exporter.export(spans_of("a", "bad", "b"))
    exporter.export(spans_of("c"))
    wait_until(lambda: status(spool.folder).files == 0, what="the replay")
    exporter.shutdown()

    assert endpoint.names == {"a", "b", "c"}
    assert status(spool.folder).quarantined == 1


@pytest.mark.parametrize("bad", [["0"], ["9"], ["3", "7"], [str(number) for number in range(10)], []])
def test_refused_spans_are_found_among_others(bad: list[str]) -> None:
    endpoint = Endpoint()
    endpoint.refuses = set(bad)
    spans = spans_of(*map(str, range(10)))

    refused = refused_by(endpoint.send, spans, spans_of("witness")[0])

    assert sorted(spans[position].name for position in refused) == bad
    assert endpoint.names - {"witness"} == set(map(str, range(10))) - set(bad)


def test_an_endpoint_that_is_away_refuses_nothing() -> None:
    endpoint = Endpoint()
    endpoint.is_away = True
    with pytest.raises(EndpointError):
        refused_by(endpoint.send, spans_of("a", "b"), spans_of("witness")[0])


def test_who_has_sent_nothing_yet_tells_a_span_that_is_refused_by_those_that_are_taken() -> None:
    endpoint = Endpoint()
    endpoint.refuses = {"bad"}
    first, second, bad = (
        some_spans(1, seed=seed)[0]._replace(name=name) for seed, name in enumerate(("a", "b", "bad"))
    )
    with into_endpoint(endpoint.exporter) as save:
        with pytest.raises(EndpointError):
            save([bad])
        assert [each.what for each in save([first, bad, second])] == [bad]
        assert [each.what for each in save([bad])] == [bad], "others have been taken meanwhile"
    assert endpoint.names == {"a", "b"}


def test_a_server_that_is_started_late_gets_what_a_pipeline_did_before(programs: Programs) -> None:
    server = Serve(f"sqlite:///{programs.database}")
    pipeline = f"""
import sys, otel_runs
from opentelemetry import trace
otel_runs.configure("none", otlp_endpoint={server.http!r})
with trace.get_tracer("t").start_as_current_span(sys.argv[1]):
    pass
"""
    environ = {"OTEL_EXPORTER_OTLP_TIMEOUT": "1"}
    (programs.folder / ".otel_runs").mkdir()
    assert programs.python(pipeline, "early", environ=environ | {"OTEL_RUNS_FLUSH_TIMEOUT": "2"}).returncode == 0
    [folder] = (programs.folder / ".otel_runs" / "spool").iterdir()
    assert status(folder).spans >= 1

    try:
        server.start()
        done = programs.python(pipeline, "late", environ=environ)
    finally:
        server.stop()

    assert done.returncode == 0
    assert names_in(programs.database) == ["early", "late"]
    assert status(folder).files == 0


def test_an_endpoint_has_one_spool_and_no_secret_in_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_RUNS_SPOOL", str(tmp_path))
    urls = [
        "http://me:secret@a:4318/v1/traces?token=secret",
        "http://a:4318",
        "a:4318",
        "http://b:4318",
    ]
    folders = [spool.folder.name for spool in map(spool_of_endpoint, urls) if spool]
    assert folders[0] == folders[1] == folders[2] != folders[3]
    assert "secret" not in "".join(folders)
    monkeypatch.setenv("OTEL_RUNS_SPOOL", "off")
    assert spool_of_endpoint(urls[0]) is None
