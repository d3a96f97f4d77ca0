"""A provider that exists is joined: what it has goes on, and runs are stored once."""

from __future__ import annotations

import pytest

from tests.export.plain_pipeline import PLAIN, runs_and_steps
from tests.programs import Programs


def test_an_existing_provider_is_joined_and_keeps_its_exporters(programs: Programs) -> None:
    done = programs.python(
        """
        import otel_runs
        from opentelemetry import trace
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
        memory = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(memory))
        trace.set_tracer_provider(provider)
        assert otel_runs.configure("runs.db").provider is provider
        with trace.get_tracer("t").start_as_current_span("nightly"): pass
        print([span.name for span in memory.get_finished_spans()])
        """
    )

    assert (done.stdout, done.stderr) == ("['nightly']\n", "")
    assert programs.rows("SELECT name FROM runs") == [("nightly",)]


def test_a_provider_that_stores_runs_already_does_not_store_them_twice(programs: Programs) -> None:
    done = programs.python(
        """
        import otel_runs
        from opentelemetry import trace
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        provider = TracerProvider()
        provider.add_span_processor(BatchSpanProcessor(otel_runs.RunsSpanExporter("runs.db")))
        trace.set_tracer_provider(provider)
        otel_runs.configure("runs.db")
        with trace.get_tracer("t").start_as_current_span("nightly"): pass
        provider.force_flush()
        print(otel_runs.stats().spans_received)
        """
    )

    assert (done.stdout, done.stderr) == ("1\n", "")


TAKEN_OVER = """
import sys
import otel_runs
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider, sampling
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
provider = TracerProvider(sampler=sampling.ALWAYS_OFF if "off" in sys.argv else sampling.ALWAYS_ON)
exporter = otel_runs.RunsSpanExporter("runs.db")
provider.add_span_processor((SimpleSpanProcessor if "simple" in sys.argv else BatchSpanProcessor)(exporter))
trace.set_tracer_provider(provider)
tracer = trace.get_tracer("t")
"""


@pytest.mark.parametrize("processor", ["batch", "simple"])
def test_configure_takes_the_place_of_a_stock_processor(programs: Programs, processor: str) -> None:
    done = programs.python(
        TAKEN_OVER
        + """
with tracer.start_as_current_span("before"): pass
setup = otel_runs.configure()
import sqlite3
with tracer.start_as_current_span("nightly"):
    assert setup.flush()
    print(sqlite3.connect("runs.db").execute("SELECT name, status FROM runs ORDER BY started_at").fetchall())
    for _ in range(5_100):
        tracer.start_span("load").end()
assert setup.flush()
stats = otel_runs.stats()
print(stats.spans_received, stats.spans_stored)
""",
        processor,
    )

    assert done.stderr == ""
    assert done.stdout == "[('before', 'completed'), ('nightly', 'running')]\n5102 5102\n"
    assert programs.rows("SELECT name, steps FROM runs ORDER BY 1") == [("before", 0), ("nightly", 5_100)]


def test_configure_records_what_a_sampler_drops_in_front_of_a_stock_processor(programs: Programs) -> None:
    done = programs.python(TAKEN_OVER + "otel_runs.configure()\n" + PLAIN, "off")

    assert (done.returncode, done.stderr) == (0, "")
    assert runs_and_steps(programs) == [("nightly", "load")]


def test_a_forked_child_is_stored_where_a_stock_processor_was(programs: Programs) -> None:
    done = programs.python(
        TAKEN_OVER
        + """
import os
otel_runs.configure()
child = os.fork()
if not child:
    with tracer.start_as_current_span("in the child"): pass
    os._exit(0)
os.waitpid(child, 0)
""",
        timeout=30,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert programs.rows("SELECT name FROM runs") == [("in the child",)]


def test_shutting_down_the_provider_stores_what_a_stock_processor_held(programs: Programs) -> None:
    done = programs.python(
        TAKEN_OVER
        + """
with tracer.start_as_current_span("before"): pass
otel_runs.configure()
with tracer.start_as_current_span("after"): pass
provider.shutdown()
import os
os._exit(0)
"""
    )

    assert done.stderr == ""
    assert programs.rows("SELECT name FROM runs ORDER BY 1") == [("after",), ("before",)]


def test_a_provider_that_stores_runs_elsewhere_is_told_and_both_databases_have_them(programs: Programs) -> None:
    done = programs.python(TAKEN_OVER + "otel_runs.configure('other.db')\n" + PLAIN)

    assert done.returncode == 0
    assert "they go to both" in done.stderr
    assert runs_and_steps(programs) == [("nightly", "load")]
    programs.database = programs.folder / "other.db"
    assert runs_and_steps(programs) == [("nightly", "load")]


def test_a_processor_that_leaves_spans_out_keeps_its_place_and_is_flushed(programs: Programs) -> None:
    done = programs.python(
        """
        import otel_runs
        from opentelemetry import trace
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        class NoSecrets(BatchSpanProcessor):
            def on_end(self, span):
                if span.name != "secret":
                    super().on_end(span)
        provider = TracerProvider()
        provider.add_span_processor(NoSecrets(otel_runs.RunsSpanExporter("runs.db")))
        trace.set_tracer_provider(provider)
        setup = otel_runs.configure()
        for name in ("secret", "nightly"):
            trace.get_tracer("t").start_span(name).end()
        assert setup.flush()
        print(otel_runs.stats().spans_stored)
        """
    )

    assert done.stdout == "1\n"
    assert "NoSecrets of its own" in done.stderr
    assert programs.rows("SELECT name FROM runs") == [("nightly",)]


def test_a_provider_that_cannot_be_joined_is_told_and_the_pipeline_runs(programs: Programs) -> None:
    done = programs.python(
        """
        import otel_runs
        from opentelemetry import trace
        trace.set_tracer_provider(trace.NoOpTracerProvider())
        otel_runs.configure("runs.db").flush()
        print("done")
        """
    )

    assert done.stdout == "done\n"
    assert "NoOpTracerProvider" in done.stderr


@pytest.mark.parametrize("shutdown", ["setup.shutdown()", "setup.provider.shutdown()"])
@pytest.mark.parametrize("provider", ["ours", "theirs"])
def test_configure_sets_up_again_after_a_shutdown(programs: Programs, shutdown: str, provider: str) -> None:
    done = programs.python(
        f"""
        import otel_runs
        from opentelemetry import trace
        from opentelemetry.sdk.trace import TracerProvider
        if {provider!r} == "theirs":
            trace.set_tracer_provider(TracerProvider())
        tracer = trace.get_tracer("t")
        setup = otel_runs.configure("runs.db")
        with tracer.start_as_current_span("first"): pass
        {shutdown}
        again = otel_runs.configure()
        assert again is not setup and otel_runs.configure("runs.db") is again
        with tracer.start_as_current_span("second"):
            with tracer.start_as_current_span("load"): pass
        again.shutdown()
        otel_runs.configure("other.db")
        with tracer.start_as_current_span("third"): pass
        """
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert programs.rows("SELECT name, steps FROM runs ORDER BY 1") == [("first", 0), ("second", 1)]
    programs.database = programs.folder / "other.db"
    assert programs.rows("SELECT name FROM runs") == [("third",)]


def test_configure_after_a_shutdown_stores_where_the_providers_own_exporter_did(programs: Programs) -> None:
    done = programs.python(
        TAKEN_OVER
        + """
otel_runs.configure().shutdown()
otel_runs.configure()
"""
        + PLAIN
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert runs_and_steps(programs) == [("nightly", "load")]


@pytest.mark.parametrize("again", ["", "'runs.db'", "'other.db'"])
def test_configure_follows_a_provider_that_was_replaced(programs: Programs, again: str) -> None:
    done = programs.python(
        f"""
        import otel_runs
        from opentelemetry import trace
        from opentelemetry.sdk.trace import TracerProvider
        otel_runs.configure("runs.db")
        with trace.get_tracer("t").start_as_current_span("first"): pass
        trace._TRACER_PROVIDER = TracerProvider()
        otel_runs.configure({again})
        with trace.get_tracer("t").start_as_current_span("second"): pass
        """
    )

    assert (done.returncode, done.stderr) == (0, "")
    stored = programs.rows("SELECT name FROM runs")
    if "other" in again:
        programs.database = programs.folder / "other.db"
        stored += programs.rows("SELECT name FROM runs")
    assert sorted(stored) == [("first",), ("second",)]
