"""``otel-runs exec`` with real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import Any

import pytest

from otel_runs.launch.command import name_of
from tests.programs import TIMEOUT, Programs, otel_runs_command, words_of

pytestmark = pytest.mark.skipif(not hasattr(os, "posix_spawn"), reason="needs POSIX processes")


def exec_line(*arguments: str) -> list[str]:
    return otel_runs_command("exec", "--db", "runs.db", *arguments)


def the_run(programs: Programs) -> tuple[Any, ...]:
    (run,) = programs.rows("SELECT name, status, stop_reason, status_source FROM runs")
    return run


@pytest.mark.parametrize(
    ("command", "code", "status", "stop_reason"),
    [
        (["true"], 0, "completed", "completed"),
        (["sh", "-c", "exit 3"], 3, "failed", "exit:3"),
        ([sys.executable, "-c", "import sys; sys.exit(3)"], 3, "failed", "exit:3"),
        (["sh", "-c", "kill -KILL $$"], 128 + 9, "failed", "signal:SIGKILL"),
        (["sh", "-c", "kill -TERM $$"], -signal.SIGTERM, "cancelled", "signal:SIGTERM"),
        (["nonesuch-program"], 127, "failed", "exit:127"),
        ([""], 127, "failed", "exit:127"),
        (["/"], 126, "failed", "exit:126"),
    ],
    ids=["success", "code", "python code", "SIGKILL", "SIGTERM", "no such program", "no name", "not executable"],
)
def test_the_run_ends_as_the_program_does_and_so_does_exec(
    programs: Programs, command: list[str], code: int, status: str, stop_reason: str
) -> None:
    done = programs.run(exec_line("--", *command))

    assert done.returncode == code, done.stderr
    assert the_run(programs)[1:3] == (status, stop_reason)
    assert the_run(programs)[3] == ("signal" if "signal" in stop_reason else "span")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_are_passed_on_and_end_the_run_as_cancelled(programs: Programs, number: signal.Signals) -> None:
    process = programs.start(exec_line("--", "sh", "-c", "echo ready; exec sleep 60"))
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        assert process.wait(TIMEOUT) == -number
    finally:
        process.kill()
        process.communicate()

    assert the_run(programs)[1:] == ("cancelled", f"signal:{number.name}", "signal")


@pytest.mark.parametrize("number", [signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2])
def test_signals_that_are_meant_for_the_program_do_not_end_exec_alone(
    programs: Programs, number: signal.Signals
) -> None:
    process = programs.start(exec_line("--", "sh", "-c", "ulimit -c 0; echo ready; exec sleep 60"))
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        assert process.wait(TIMEOUT) == 128 + number
    finally:
        process.kill()
        process.communicate()

    assert the_run(programs)[1:] == ("failed", f"signal:{number.name}", "signal")


def test_a_signal_to_the_whole_group_ends_program_and_steps_once(programs: Programs) -> None:
    """As ``timeout`` and service managers send it: the program has it twice, once from us."""
    program = programs.write(
        """
        import time
        from otel_runs import step

        @step
        def load():
            print("ready", flush=True)
            time.sleep(60)

        load()
        """
    )
    process = programs.start(exec_line("--", sys.executable, str(program)), own_group=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        os.killpg(process.pid, signal.SIGTERM)
        assert process.wait(TIMEOUT) == -signal.SIGTERM
    finally:
        process.kill()
        process.communicate()

    assert the_run(programs)[1:3] == ("cancelled", "signal:SIGTERM")
    assert programs.rows("SELECT name, status, stop_reason FROM model_runs") == [
        ("load", "cancelled", "signal:SIGTERM")
    ]


@pytest.mark.parametrize(
    ("end", "reason"),
    [("os._exit(3)", "exit:3"), ("os.kill(os.getpid(), signal.SIGKILL)", "signal:SIGKILL")],
    ids=["_exit", "SIGKILL"],
)
def test_steps_that_are_open_when_the_program_is_gone_are_lost(programs: Programs, end: str, reason: str) -> None:
    program = programs.write(
        f"""
        import os, signal, time
        import otel_runs
        from otel_runs import step

        @step
        def load():
            otel_runs.configure().flush()
            time.sleep(1)  # for the step's start to be stored
            {end}

        load()
        """
    )
    programs.run(exec_line("--", sys.executable, str(program)))

    assert the_run(programs)[1:3] == ("failed", reason)
    assert programs.rows("SELECT name, status, stop_reason FROM model_runs") == [("load", "failed", "lost")]


def test_a_program_that_ends_itself_on_a_signal_decides_the_code(programs: Programs) -> None:
    process = programs.start(
        exec_line("--", "sh", "-c", "trap 'exit 143' TERM; echo ready; while :; do sleep 0.1; done")
    )
    try:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait(TIMEOUT) == 143
    finally:
        process.kill()
        process.communicate()

    assert the_run(programs)[1:3] == ("cancelled", "signal:SIGTERM")


def test_input_and_output_are_the_programs_own(programs: Programs) -> None:
    process = subprocess.run(
        exec_line("--", sys.executable, "-c", "import sys; print(input()); print('e', file=sys.stderr)"),
        cwd=programs.folder,
        env=programs.environ(),
        input="hello\n",
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )

    assert (process.stdout, process.stderr) == ("hello\n", "e\n")


def test_arguments_reach_the_program_unchanged(programs: Programs) -> None:
    program = programs.write("import sys; print(sys.argv[1:])")

    done = programs.run(exec_line("--", sys.executable, str(program), "--db", "x", "-h", "--", "a b"))

    assert done.stdout == "['--db', 'x', '-h', '--', 'a b']\n"


def test_the_program_starts_with_default_signal_dispositions(programs: Programs) -> None:
    program = programs.write("import signal; print(sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())))")

    assert programs.run(exec_line("--", sys.executable, str(program))).stdout == "[]\n"
    assert programs.run(exec_line("--", "sh", "-c", "kill -PIPE $$")).returncode == 128 + signal.SIGPIPE


@pytest.mark.parametrize(
    ("command", "name"),
    [
        (["python", "jobs/nightly.py", "-x"], "nightly"),
        (["/usr/bin/python3.12", "-u", "-W", "error", "nightly.py"], "nightly"),
        (["python", "-m", "shop.nightly"], "shop.nightly"),
        (["python", "-umshop.nightly", "x"], "shop.nightly"),
        (["python", "-Werror", "-uXdev", "--check-hash-based-pycs", "always", "nightly.py"], "nightly"),
        (["python", "-c", "pass"], "python"),
        (["bash", "load.sh"], "load.sh"),
        (["bash", "-c", "true"], "bash"),
        (["/opt/bin/dbt", "run"], "dbt"),
        (["./nightly.py"], "nightly"),
    ],
)
def test_a_run_is_named_after_its_script_or_program(command: list[str], name: str) -> None:
    assert name_of(command) == name


def test_name_and_environment_can_be_given(programs: Programs) -> None:
    programs.run(exec_line("--name", "evening", "--env", "prod", "--", "true"))

    assert programs.rows("SELECT name, environment, service_name FROM runs") == [("evening", "prod", "evening")]


def test_environment_of_any_characters_reaches_the_program_whole(programs: Programs) -> None:
    environment = "a,service.name=é 100%"
    program = programs.write(
        "from opentelemetry.sdk.resources import Resource\n"
        "print(ascii(Resource.create().attributes['deployment.environment.name']))"
    )
    environ = {"OTEL_RESOURCE_ATTRIBUTES": "team=data"}
    done = programs.run(exec_line("--env", environment, "--", sys.executable, str(program)), environ=environ)
    assert done.stdout == f"{environment!a}\n"
    assert programs.rows("SELECT environment, service_name FROM runs") == [(environment, "pipeline")]


@pytest.mark.parametrize("option", ["--step", "--model", "--run"])
def test_functions_that_are_not_named_as_such_are_wrong_usage_and_start_nothing(
    programs: Programs, option: str
) -> None:
    done = programs.run(exec_line(option, "shop.load", "--", "touch", "started"))
    assert (done.returncode, "expected MODULE:PATTERN" in done.stderr) == (2, True)
    assert list(programs.folder.iterdir()) == []


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


def test_functions_of_the_script_become_steps(programs: Programs) -> None:
    program = programs.write(
        """
        def load_orders(): return 1
        def load_items(): raise KeyError("x")
        def other(): load_orders()
        if __name__ == "__main__":
            other()
            try: load_items()
            except KeyError: pass
        """
    )

    done = programs.run(exec_line("--step", "pipeline:load_*", "--", sys.executable, str(program)))

    assert (done.returncode, done.stderr) == (0, "")
    assert programs.rows("SELECT name, status, kind FROM model_runs ORDER BY name") == [
        ("load_items", "failed", "step"),
        ("load_orders", "success", "step"),
    ]
    assert the_run(programs)[0] == "pipeline"


def test_functions_of_imported_modules_become_models_and_nested_runs(programs: Programs) -> None:
    programs.write("", "shop/__init__.py")
    programs.write("def build(): pass\ndef window(): build()", "shop/models.py")
    program = programs.write("from shop.models import window\nwindow()")

    done = programs.run(
        exec_line("--model", "shop.models:build", "--run", "shop.models:window", "--", sys.executable, str(program))
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert programs.rows(
        "SELECT r.name, p.name FROM runs r LEFT JOIN runs p ON p.id = r.parent_run_id ORDER BY r.name"
    ) == [("pipeline", None), ("window", "pipeline")]
    assert programs.rows("SELECT name, kind FROM model_runs") == [("build", "model")]


def test_a_target_that_is_none_is_refused_before_anything_starts(programs: Programs) -> None:
    done = programs.run(exec_line("--step", "load_*", "--", "touch", "started"))

    assert done.returncode == 2
    assert "MODULE:PATTERN" in done.stderr
    assert not (programs.folder / "started").exists()


def test_what_libraries_do_becomes_steps_of_the_run_in_every_thread(programs: Programs) -> None:
    program = programs.write(
        """
        import sqlite3, threading
        connection = sqlite3.connect(":memory:", check_same_thread=False)
        connection.cursor().execute("CREATE TABLE t (x)")
        # A thread by which no instrumentation hands the context over.
        import _thread
        done = threading.Lock(); done.acquire()
        _thread.start_new_thread(lambda: (connection.cursor().execute("SELECT 1"), done.release()), ())
        done.acquire()
        """
    )

    done = programs.run(exec_line("--", sys.executable, str(program)))

    assert (done.returncode, done.stderr) == (0, "")
    assert programs.rows("SELECT m.name, m.kind FROM model_runs m JOIN runs r ON r.id = m.run_id ORDER BY 1") == [
        ("CREATE", "query"),
        ("SELECT", "query"),
    ]
    assert programs.rows("SELECT count(*) FROM runs") == [(1,)]


def test_instrumentations_can_be_left_out(programs: Programs) -> None:
    program = programs.write("import sqlite3\nsqlite3.connect(':memory:').cursor().execute('SELECT 1')")

    programs.run(
        exec_line("--", sys.executable, str(program)), environ={"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "sqlite3"}
    )

    assert programs.rows("SELECT count(*) FROM model_runs") == [(0,)]


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


def test_a_database_that_is_no_database_does_not_stop_the_program(programs: Programs) -> None:
    programs.database.write_bytes(b"not a database " * 100)

    done = programs.run(exec_line("--", "sh", "-c", "echo ran; exit 4"))

    assert (done.returncode, done.stdout) == (4, "ran\n")
    assert "is not an SQLite database" in done.stderr


def test_an_option_that_names_no_database_is_told_and_nothing_is_started_and_a_variable_stops_no_program(
    programs: Programs,
) -> None:
    program = ("--", "sh", "-c", "echo ran; exit 4")

    refused = programs.run(otel_runs_command("exec", "--db", "mysql://me:secret@host/db", *program))
    told = programs.run(otel_runs_command("exec", *program), environ={"OTEL_RUNS_DB": "mysql://me:secret@host/db"})

    assert (refused.returncode, refused.stdout) == (2, "")
    assert (told.returncode, told.stdout) == (4, "ran\n")
    for done in (refused, told):
        assert "names 'mysql'" in words_of(done.stderr)
        assert "secret" not in done.stderr


def test_the_programs_time_is_the_runs_time(programs: Programs) -> None:
    started = time.monotonic()
    programs.run(exec_line("--", "sleep", "0.5"))
    took = time.monotonic() - started

    ((seconds,),) = programs.rows("SELECT duration_seconds FROM runs")
    assert 0.5 <= seconds < took
