"""One machine: pipelines, a Collector with local.yaml, Jaeger, otel-runs."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from otel_runs.store.engine import open_database
from tests.collector.conftest import StartCollector, StartServe
from tests.ingest.contents import contents_of, without_signs_of_life
from tests.programs import Programs, otel_runs_command
from tests.project.documents import ROOT, Mark, blocks_of
from tests.servers.collector import Collector
from tests.servers.jaeger import Jaeger
from tests.servers.serve import Serve

PIPELINE = """
    import os

    from opentelemetry import trace
    from opentelemetry.trace import SpanKind

    import otel_runs
    from otel_runs import model, record, run, skip, step

    tracer = trace.get_tracer("pipeline")

    @step(rows_out="len")
    def extract():
        with tracer.start_as_current_span("GET /orders", kind=SpanKind.CLIENT):
            return list(range(100))

    @model(path="shop.revenue", materialized="table", depends_on=["shop.orders"], rows_affected="len")
    def revenue(orders):
        with tracer.start_as_current_span("chat", attributes={
            "gen_ai.operation.name": "chat", "gen_ai.request.model": "small", "gen_ai.usage.input_tokens": 12,
            "gen_ai.usage.output_tokens": 7, "gen_ai.input.messages": "what a customer wrote",
        }) as chat:
            chat.add_event("gen_ai.user.message", {"content": "what a customer wrote"})
            return orders[:10]

    @step
    def notify():
        skip("nobody asked")

    @step
    def fragile():
        raise KeyError("no such order")

    @run(name="window")
    def window(orders):
        revenue(orders)
        record(metadata={"window": 1})

    @run
    def nightly():
        orders = extract()
        window(orders)
        notify()
        try:
            fragile()
        except KeyError:
            pass
        record(rows_in=100, rows_out=len(orders), metadata={"source": "generated"})
"""
ADDED = ["filter-noise.yaml", "redact-prompts.yaml"]
"""Both, so that it shows if one undoes the other."""
SENDS_ONLY = """
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExporter

    class Printer(SpanExporter):
        def export(self, spans):
            for span in spans:
                parent = format(span.parent.span_id, "016x") if span.parent else None
                ids = format(span.context.trace_id, "032x"), format(span.context.span_id, "016x")
                print(*ids, span.name, parent, sep="|")

    provider = TracerProvider()
    trace.set_tracer_provider(provider)
    provider.add_span_processor(SimpleSpanProcessor(Printer()))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    nightly()
    with tracer.start_as_current_span("GET", kind=SpanKind.SERVER, attributes={"url.path": "/healthz"}):
        pass
    provider.shutdown()
"""
SENDS_ON_EVERY_PATH = """
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider()
    trace.set_tracer_provider(provider)
    provider.add_span_processor(BatchSpanProcessor(otel_runs.RunsSpanExporter(os.environ["IN_PROCESS"])))
    otel_runs.configure(os.environ["BOTH"], otlp_endpoint=os.environ["COLLECTOR"])
    nightly()
"""


@pytest.fixture
def collector(start_collector: StartCollector, serve: Serve, jaeger: Jaeger) -> Collector:
    return start_collector("local.yaml", environ={"RUNS_OTLP_GRPC": serve.grpc, "JAEGER_OTLP_GRPC": jaeger.grpc})


def test_pipeline_that_exports_in_process_and_through_the_collector_leaves_the_rows_of_either_alone(
    programs: Programs, start_collector: StartCollector, start_serve: StartServe, database_url_for_test: str
) -> None:
    in_process = f"sqlite:///{programs.folder / 'in_process.db'}"
    through_collector, both = start_serve(), start_serve(database_url_for_test)
    # Where Jaeger would be is a second otel-runs, so that one pipeline goes all three ways at once.
    collector = start_collector(
        "local.yaml", environ={"RUNS_OTLP_GRPC": both.grpc, "JAEGER_OTLP_GRPC": through_collector.grpc}
    )
    paths = {"IN_PROCESS": in_process, "BOTH": database_url_for_test, "COLLECTOR": collector.http}
    resource = {"OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test", "OTEL_SERVICE_NAME": "shop"}
    done = programs.python(PIPELINE + SENDS_ON_EVERY_PATH, environ=paths | resource)
    assert done.returncode == 0
    assert done.stderr.endswith(": they go to both. Name one database, or leave one of the two out.\n")
    assert done.stderr.count("\n") == 1

    collector.pause()  # sends what it holds
    with (
        open_database(in_process) as one,
        open_database(through_collector.database) as other,
        open_database(database_url_for_test) as twice,
    ):
        alone = without_signs_of_life(contents_of(one))
        assert {table for table, rows in alone.items() if rows} >= {"runs", "model_runs", "models", "dependencies"}
        assert without_signs_of_life(contents_of(other)) == alone
        assert without_signs_of_life(contents_of(twice)) == alone


def test_pipeline_of_the_readme_needs_one_variable_to_go_through_the_collector(
    programs: Programs, collector: Collector, serve: Serve
) -> None:
    [pipeline] = [block.text for block in blocks_of(ROOT / "README.md") if block.mark == Mark("file", "pipeline.py")]
    done = programs.python(pipeline, environ={"OTEL_EXPORTER_OTLP_ENDPOINT": collector.http})
    assert (done.returncode, done.stderr) == (0, "")
    collector.pause()

    run = runs_in(serve, programs)["nightly"]
    assert (run["status"], run["rows_in"], run["steps"]) == ("completed", 1000, 4)


Sent = dict[str, dict[str, tuple[str, str | None]]]
"""Trace id -> span id -> name and parent."""


def run_through(collector: Collector, programs: Programs) -> Sent:
    """Run the pipeline, which answers a health check, too, until all its spans have left the Collector."""
    done = programs.python(PIPELINE + SENDS_ONLY, environ={"OTEL_EXPORTER_OTLP_ENDPOINT": collector.http})
    assert (done.returncode, done.stderr) == (0, "")
    collector.pause()  # sends what it holds
    sent: Sent = {}
    for line in done.stdout.splitlines():
        trace_id, span_id, name, parent = line.split("|")
        sent.setdefault(trace_id, {})[span_id] = (name, None if parent == "None" else parent)
    return sent


def asked(serve: Serve, programs: Programs, *arguments: str, environ: dict[str, str] | None = None) -> str:
    """What ``otel-runs`` prints about the server's database."""
    done = programs.run(otel_runs_command(*arguments, "--db", serve.database), environ=environ)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def runs_in(serve: Serve, programs: Programs) -> dict[str, dict[str, Any]]:
    """The latest runs by name, without nested ones."""
    return {run["name"]: run for run in json.loads(asked(serve, programs, "tail", "--json"))}


def parent_of(span: dict[str, Any]) -> str | None:
    """The parent of a span in Jaeger's words."""
    parents = [reference["spanID"] for reference in span["references"] if reference["refType"] == "CHILD_OF"]
    return parents[0] if parents else None


def tags_of(spans: list[dict[str, Any]]) -> dict[str, set[Any]]:
    """Tags of spans in Jaeger's words: all values of each key."""
    tags: dict[str, set[Any]] = {}
    for span in spans:
        for tag in span["tags"]:
            tags.setdefault(tag["key"], set()).add(tag["value"])
    return tags


def test_run_leads_to_its_trace_in_jaeger_with_the_same_spans(
    programs: Programs, collector: Collector, serve: Serve, jaeger: Jaeger
) -> None:
    sent = run_through(collector, programs)

    environ = {"OTEL_RUNS_TRACE_URL": jaeger.url + "/trace/{trace_id}", "COLUMNS": "200"}
    shown = asked(serve, programs, "show", runs_in(serve, programs)["nightly"]["id"], environ=environ)
    [trace_id] = re.findall(rf"{jaeger.url}/trace/([0-9a-f]{{32}})", shown)
    spans = jaeger.spans_of(trace_id)
    assert {span["spanID"]: (span["operationName"], parent_of(span)) for span in spans} == sent[trace_id]
    assert {name for name, _ in sent[trace_id].values()} > {"nightly", "window", "extract", "GET /orders"}


def test_trace_in_jaeger_leads_back_to_its_runs_as_jaeger_ui_json_does(
    programs: Programs, collector: Collector, serve: Serve, jaeger: Jaeger
) -> None:
    run_through(collector, programs)
    trace_id = runs_in(serve, programs)["nightly"]["trace_id"]

    assert json.loads(asked(serve, programs, "show", trace_id, "--json"))["name"] == "nightly"
    of_spans = tags_of(jaeger.spans_of(trace_id))["otel_runs.parent.run"]
    assert {json.loads(asked(serve, programs, "show", id_, "--json"))["name"] for id_ in of_spans} == {
        "nightly",
        "window",
    }


def test_looking_at_a_trace_in_jaeger_is_no_trace_itself(
    programs: Programs, collector: Collector, jaeger: Jaeger
) -> None:
    jaeger.spans_of("ab" * 16)
    run_through(collector, programs)

    assert any(name.startswith("unknown_service") for name in jaeger.services())
    assert "jaeger" not in jaeger.services()


def test_spans_that_are_no_rows_are_in_jaeger_only(
    programs: Programs, collector: Collector, serve: Serve, jaeger: Jaeger
) -> None:
    sent = run_through(collector, programs)
    run = runs_in(serve, programs)["nightly"]
    shown = asked(serve, programs, "show", run["id"], "--json")

    assert {"GET /orders", "extract"} < {name for name, _ in sent[run["trace_id"]].values()}
    assert ('"extract"' in shown, '"GET /orders"' in shown) == (True, False)


@pytest.mark.parametrize(
    ("configs", "runs"),
    [(["local.yaml"], {"nightly", "GET"}), (["local.yaml", *ADDED], {"nightly"})],
    ids=["as it is", "filtered"],
)
def test_filtered_noise_leaves_no_run_and_stays_in_jaeger(
    configs: list[str],
    runs: set[str],
    programs: Programs,
    start_collector: StartCollector,
    serve: Serve,
    jaeger: Jaeger,
) -> None:
    collector = start_collector(*configs, environ={"RUNS_OTLP_GRPC": serve.grpc, "JAEGER_OTLP_GRPC": jaeger.grpc})
    sent = run_through(collector, programs)

    assert set(runs_in(serve, programs)) == runs
    assert {trace_id: len(jaeger.spans_of(trace_id)) for trace_id in sent} == {
        trace_id: len(spans) for trace_id, spans in sent.items()
    }


@pytest.mark.parametrize(
    ("configs", "prompts"),
    [(["local.yaml"], True), (["local.yaml", *ADDED], False)],
    ids=["as it is", "redacted"],
)
def test_redacted_prompts_reach_nobody_while_tokens_do(
    configs: list[str],
    prompts: bool,
    programs: Programs,
    start_collector: StartCollector,
    serve: Serve,
    jaeger: Jaeger,
) -> None:
    collector = start_collector(*configs, environ={"RUNS_OTLP_GRPC": serve.grpc, "JAEGER_OTLP_GRPC": jaeger.grpc})
    run_through(collector, programs)
    run = runs_in(serve, programs)["nightly"]

    spans = jaeger.spans_of(run["trace_id"])
    assert json.dumps(spans).count("what a customer wrote") == (2 if prompts else 0)
    tags = tags_of(spans)
    assert tags["gen_ai.usage.input_tokens"] == {12}
    assert (run["input_tokens"], run["output_tokens"]) == (12, 7)


PROMPTS = (
    *("gen_ai.prompt", "gen_ai.completion.0.content", "gen_ai.output.messages", "gen_ai.system_instructions"),
    *("gen_ai.tool.definitions", "gen_ai.tool.call.arguments"),
    *("input.value", "output.value", "llm.input_messages.0.message.content", "llm.prompts.0", "llm.tools.0"),
    *("retrieval.documents.0.document.content", "embedding.embeddings.0.embedding.text", "tool.parameters"),
    *("traceloop.entity.input", "traceloop.entity.output", "langfuse.observation.input", "langfuse.trace.output"),
    *("ai.prompt", "ai.prompt.messages", "ai.response.text", "ai.toolCall.args", "ai.response.object"),
    *("mlflow.spanInputs", "mlflow.spanOutputs", "mlflow.chat.messages", "all_messages_events", "tool_response"),
)
NO_PROMPTS = (
    "llm.token_count.prompt",
    "ai.usage.promptTokens",
    "gen_ai.usage.input_tokens",
    "llm.model_name",
    "ai.model.id",
)


def test_prompts_of_other_tools_reach_nobody_either(
    programs: Programs, start_collector: StartCollector, serve: Serve, jaeger: Jaeger
) -> None:
    collector = start_collector(
        "local.yaml", *ADDED, environ={"RUNS_OTLP_GRPC": serve.grpc, "JAEGER_OTLP_GRPC": jaeger.grpc}
    )
    attributes = dict.fromkeys(PROMPTS, "what a customer wrote") | dict.fromkeys(NO_PROMPTS, "stays")
    done = programs.python(
        f"""
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor

        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter()))
        with provider.get_tracer("t").start_as_current_span("chat", attributes={attributes!r}) as span:
            print(format(span.get_span_context().trace_id, "032x"))
        """,
        environ={"OTEL_EXPORTER_OTLP_ENDPOINT": collector.http},
    )
    collector.pause()

    tags = tags_of(jaeger.spans_of(done.stdout.strip()))
    assert {name for name, values in tags.items() if "what a customer wrote" in values} == set()
    assert set(NO_PROMPTS) <= tags.keys()
