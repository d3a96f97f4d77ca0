"""Servers: production.yaml, with TLS and a token towards otel-runs, a queue on disk, and a sample for Jaeger."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import select

from otel_runs.store import tables
from otel_runs.store.engine import open_database
from tests.collector.conftest import StartCollector, StartProduction, StartServe, environ_of_production
from tests.collector.history import ids_in, wait_for_all
from tests.collector.spans import SPANS_A_TRACE, Sending, Traces, failed
from tests.programs import Programs
from tests.servers.certificates import new_certificate
from tests.servers.jaeger import Jaeger
from tests.servers.ports import free_port
from tests.servers.serve import Serve
from tests.waiting import wait_until


@pytest.mark.parametrize("added", [[], ["filter-noise.yaml", "redact-prompts.yaml"]], ids=["as it is", "filtered"])
def test_every_run_is_in_the_tables_while_jaeger_has_the_failed_ones_and_a_share(
    added: list[str], start_production: StartProduction, guarded: Serve, jaeger: Jaeger
) -> None:
    traces = Traces(200)
    collector = start_production(*added, SAMPLING_DECISION_WAIT="1s", SAMPLING_PERCENTAGE="20")
    Sending(collector.http, traces.requests(), seconds=60).finish()
    wait_for_all(guarded.database, traces, seconds=60)

    judged = "otelcol_processor_tail_sampling_global_count_traces_sampled"
    wait_until(lambda: collector.metric(judged) == len(traces.ids()), what="the decision on every trace")
    spans = collector.metric(judged, 'sampled="true"') * SPANS_A_TRACE
    wait_until(lambda: sum(len(jaeger.spans_of(id_)) for id_ in traces.ids()) == spans, what="the sample in Jaeger")
    found = {number: len(jaeger.spans_of(id_)) for number, id_ in zip(traces.numbers, traces.ids(), strict=True)}
    kept = {number for number, spans_of_trace in found.items() if spans_of_trace}
    assert {number for number in traces.numbers if failed(number)} < kept
    assert len(kept) < len(traces.ids()) / 2
    assert {found[number] for number in kept} == {SPANS_A_TRACE}


def test_full_queue_tells_pipelines_to_send_again_and_nothing_is_lost(
    start_production: StartProduction, guarded: Serve, tmp_path: Path
) -> None:
    small = tmp_path / "small.yaml"
    small.write_text("exporters: {otlp_http/runs: {sending_queue: {queue_size: 5000}}}\n")
    collector = start_production(str(small))
    guarded.kill()
    traces = Traces(300)
    sending = Sending(collector.http, traces.requests(), seconds=60)
    wait_until(lambda: bool(sending.refusals), what="a refusal")
    assert collector.metric("otelcol_exporter_queue_size", "otlp_http/runs") <= 5000
    guarded.start()
    sending.finish()

    assert sending.refusals <= {429, 503}
    wait_for_all(guarded.database, traces, seconds=60)


@pytest.mark.parametrize(
    ("config", "queue"), [("local.yaml", 1), ("production.yaml", 5000)], ids=["local.yaml", "production.yaml"]
)
def test_jaeger_that_is_away_and_its_full_queue_hold_up_no_pipeline(
    config: str, queue: int, start_collector: StartCollector, guarded: Serve, serve: Serve, tmp_path: Path
) -> None:
    small = tmp_path / "small.yaml"
    small.write_text(f"exporters: {{otlp_grpc/jaeger: {{sending_queue: {{queue_size: {queue}}}}}}}\n")
    environ = environ_of_production(guarded, f"127.0.0.1:{free_port()}")
    environ |= {"RUNS_OTLP_GRPC": serve.grpc, "SAMPLING_DECISION_WAIT": "1s", "SAMPLING_PERCENTAGE": "100"}
    collector = start_collector(config, str(small), environ=environ)
    traces = Traces(500)
    sending = Sending(collector.http, traces.requests(), seconds=60)
    sending.finish()
    full = "otelcol_exporter_enqueue_failed_spans"
    wait_until(lambda: collector.metric(full, "otlp_grpc/jaeger") > 0, what="a full queue")

    assert sending.refusals == set()
    wait_for_all((serve if config == "local.yaml" else guarded).database, traces, seconds=60)


@pytest.mark.parametrize(
    ("config", "prompt"), [("local.yaml", 12_000), ("production.yaml", 6_000)], ids=["local.yaml", "production.yaml"]
)
def test_spans_that_carry_prompts_are_sent_in_pieces_that_otel_runs_takes(
    config: str, prompt: int, start_collector: StartCollector, start_serve: StartServe
) -> None:
    """While otel-runs is away a backlog forms; its batches must not be larger than a request may be."""
    serve = start_serve(guarded=config == "production.yaml")
    environ = environ_of_production(serve, f"127.0.0.1:{free_port()}") if config == "production.yaml" else {}
    collector = start_collector(config, environ=environ | {"RUNS_OTLP_GRPC": serve.grpc})
    serve.kill()
    traces = Traces(6_000 * 6_000 // prompt // SPANS_A_TRACE, prompt=prompt)
    Sending(collector.http, traces.requests(of=2), seconds=60).finish()
    serve.start()

    wait_for_all(serve.database, traces, seconds=60)


def test_wrong_token_stores_nothing_and_is_told_in_the_collectors_log(
    start_production: StartProduction, guarded: Serve
) -> None:
    wrong = guarded.folder / "wrong"
    wrong.write_text("not the token")
    collector = start_production(RUNS_TOKEN_FILE=str(wrong))
    Sending(collector.http, Traces(10).requests(), seconds=60).finish()

    wait_until(lambda: "Dropping data" in collector.log(), what="a word about the token")
    assert "401" in collector.log()
    assert collector.metric("otelcol_exporter_send_failed_spans", "otlp_http/runs") == 10 * SPANS_A_TRACE
    assert ids_in(guarded.database) == (set(), set())


def test_collector_that_does_not_know_the_certificate_sends_nothing_until_it_does(
    start_production: StartProduction, start_serve: StartServe, guarded: Serve
) -> None:
    stranger = start_serve(guarded=True).certificate
    assert stranger is not None
    collector = start_production(RUNS_CA_FILE=str(stranger.file))
    traces = Traces(10)
    Sending(collector.http, traces.requests(), seconds=60).finish()
    wait_until(
        lambda: "certificate signed by unknown authority" in collector.log(), what="a word about the certificate"
    )
    assert ids_in(guarded.database) == (set(), set())

    assert guarded.certificate is not None
    stranger.file.write_bytes(guarded.certificate.file.read_bytes())
    collector.kill()
    collector.start()
    wait_for_all(guarded.database, traces, seconds=60)


def test_pipeline_on_another_machine_needs_tls_and_the_token(
    start_production: StartProduction, guarded: Serve, programs: Programs
) -> None:
    certificate = new_certificate(programs.folder)
    token = programs.folder / "pipelines-token"
    token.write_text("token-of-pipelines")
    collector = start_production(
        "secure-inlet.yaml",
        COLLECTOR_CERT_FILE=str(certificate.file),
        COLLECTOR_KEY_FILE=str(certificate.key),
        COLLECTOR_TOKEN_FILE=str(token),
    )
    plain = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.http}
    trusting = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.http.replace("http://", "https://"),
        "OTEL_EXPORTER_OTLP_CERTIFICATE": str(certificate.file),
        # These of the machine would win over it.
        "REQUESTS_CA_BUNDLE": "",
        "CURL_CA_BUNDLE": "",
    }
    sending = [
        programs.python(ONE_SPAN, name, environ=environ | {"OTEL_EXPORTER_OTLP_TIMEOUT": "5"})
        for name, environ in {
            "no TLS": plain,
            "no token": trusting,
            "a wrong token": trusting | {"OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20wrong"},
            "both": trusting | {"OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20token-of-pipelines"},
        }.items()
    ]
    assert [done.stdout for done in sending] == ["FAILURE\n", "FAILURE\n", "FAILURE\n", "SUCCESS\n"]

    wait_until(lambda: len(ids_in(guarded.database)[0]) == 1, what="the run")
    with open_database(guarded.database) as database, database.read() as connection:
        assert connection.execute(select(tables.runs.c.name)).scalars().all() == ["both"]


ONE_SPAN = """
    import sys

    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor

    class Telling(OTLPSpanExporter):
        def export(self, spans):
            print(super().export(spans).name)

    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(Telling()))
    provider.get_tracer("pipeline").start_span(sys.argv[1]).end()
"""
