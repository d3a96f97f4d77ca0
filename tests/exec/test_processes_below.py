"""Python processes below ``otel-runs exec`` join its run, and stay what they are."""

from __future__ import annotations

import sys

from tests.exec.executed import exec_line
from tests.programs import Programs
from tests.systems import needs_posix_spawn

pytestmark = needs_posix_spawn


def test_an_uncaught_exception_is_the_runs_error(programs: Programs) -> None:
    program = programs.write("def load():\n    raise ValueError('no rows')\nload()")

    done = programs.run(exec_line("--", sys.executable, str(program)))

    assert done.returncode == 1
    assert done.stderr.count("ValueError: no rows") == 1
    ((error, error_type, stop_reason),) = programs.rows("SELECT error, error_type, stop_reason FROM runs")
    assert error.startswith("ValueError: no rows\nTraceback")
    assert "in load" in error
    assert (error_type, stop_reason) == ("ValueError", "exit:1")


def test_an_exception_of_a_grandchild_that_was_survived_is_not_the_runs_error(programs: Programs) -> None:
    program = programs.write(
        """
        import subprocess, sys
        subprocess.run([sys.executable, "-c", "raise ValueError('survived')"], stderr=subprocess.DEVNULL)
        sys.exit(1)
        """
    )

    programs.run(exec_line("--", sys.executable, str(program)))

    assert programs.rows("SELECT error FROM runs") == [("the process ended with exit code 1",)]


def test_a_python_below_a_shell_joins_the_run(programs: Programs) -> None:
    program = programs.write(
        "from opentelemetry import trace\nwith trace.get_tracer('t').start_as_current_span('load'): pass"
    )

    programs.run(exec_line("--name", "shell", "--", "sh", "-c", f"{sys.executable} {program}"))

    assert programs.rows("SELECT r.name, m.name FROM model_runs m JOIN runs r ON r.id = m.run_id") == [
        ("shell", "load")
    ]


def test_exec_below_another_run_is_nested_in_it(programs: Programs) -> None:
    inner = " ".join(exec_line("--name", "inner", "--", "true"))

    programs.run(exec_line("--name", "outer", "--", "sh", "-c", inner))

    assert programs.rows("SELECT c.name, p.name FROM runs c JOIN runs p ON p.id = c.parent_run_id") == [
        ("inner", "outer")
    ]


def test_what_the_program_starts_is_not_told_of_our_plug_ins(programs: Programs) -> None:
    """They may be of another environment, where OpenTelemetry would look for them in vain."""
    program = programs.write("import os; print(os.environ.get('OTEL_PYTHON_CONTEXT'))")

    assert programs.run(exec_line("--", sys.executable, str(program))).stdout == "None\n"


def test_another_sitecustomize_still_runs(programs: Programs) -> None:
    programs.write("import builtins; builtins.seen = True", "site/sitecustomize.py")
    program = programs.write("import sys; print(seen, [p for p in sys.path if p.endswith('launch/site')] != [])")

    done = programs.run(
        exec_line("--", sys.executable, str(program)), environ={"PYTHONPATH": str(programs.folder / "site")}
    )

    assert (done.stdout, done.stderr) == ("True True\n", "")


def test_a_program_that_sets_its_own_provider_keeps_it_and_is_stored(programs: Programs) -> None:
    program = programs.write(
        """
        from opentelemetry import trace
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
        memory = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(memory))
        trace.set_tracer_provider(provider)
        assert trace.get_tracer_provider() is provider
        with trace.get_tracer("t").start_as_current_span("load"): pass
        print([span.name for span in memory.get_finished_spans()])
        """
    )

    done = programs.run(exec_line("--", sys.executable, str(program)))

    assert (done.stdout, done.stderr) == ("['load']\n", "")
    assert programs.rows("SELECT name FROM model_runs") == [("load",)]


def test_a_program_whose_own_provider_stores_runs_in_the_same_database_is_not_stored_twice(programs: Programs) -> None:
    program = programs.write(
        """
        import os
        import otel_runs
        from opentelemetry import trace
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        provider = TracerProvider()
        provider.add_span_processor(BatchSpanProcessor(otel_runs.RunsSpanExporter(os.environ["OTEL_RUNS_DB"])))
        trace.set_tracer_provider(provider)
        with trace.get_tracer("t").start_as_current_span("load"): pass
        provider.force_flush()
        print(otel_runs.stats().spans_received)
        """
    )

    done = programs.run(exec_line("--", sys.executable, str(program)))

    assert (done.stdout, done.stderr) == ("1\n", "")
    assert programs.rows("SELECT name FROM model_runs") == [("load",)]
