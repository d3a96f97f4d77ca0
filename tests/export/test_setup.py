from __future__ import annotations

import sys

import pytest

from tests.export.plain_pipeline import PLAIN, runs_and_steps
from tests.programs import Programs

DECORATED = """
from otel_runs import run, step
@step
def load(): pass
@run
def nightly(): load()
nightly()
"""


def test_configure_stores_a_plain_opentelemetry_pipeline(programs: Programs) -> None:
    done = programs.python("import otel_runs\notel_runs.configure('runs.db')\n" + PLAIN)

    assert (done.returncode, done.stderr) == (0, "")
    assert runs_and_steps(programs) == [("nightly", "load")]


@pytest.mark.parametrize(
    "environ",
    [{"OTEL_RUNS_DB": "runs.db"}, {"OTEL_RUNS_DB": "runs.db", "OTEL_TRACES_EXPORTER": "otel_runs"}],
    ids=["database", "exporter"],
)
def test_an_environment_variable_is_enough_for_decorated_code(programs: Programs, environ: dict[str, str]) -> None:
    done = programs.python(DECORATED, environ=environ)

    assert (done.returncode, done.stderr) == (0, "")
    assert runs_and_steps(programs) == [("nightly", "load")]


def test_threads_that_start_their_first_run_at_once_lose_none(programs: Programs) -> None:
    done = programs.python(
        """
        import threading
        import otel_runs
        barrier = threading.Barrier(8)
        @otel_runs.run
        def nightly(): pass
        def work():
            barrier.wait()
            nightly()
        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        nightly()
        """,
        environ={"OTEL_RUNS_DB": "runs.db"},
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert programs.rows("SELECT count(*) FROM runs") == [(9,)]


def test_an_exporter_that_runs_a_step_as_it_is_made_does_not_stop_the_set_up(programs: Programs) -> None:
    programs.write(
        """
        import otel_runs
        from opentelemetry.sdk.trace.export import ConsoleSpanExporter
        @otel_runs.step
        def connect(): pass
        class Exporter(ConsoleSpanExporter):
            def __init__(self):
                super().__init__()
                connect()
        """,
        "vendor.py",
    )
    programs.write("[opentelemetry_traces_exporter]\nvendor = vendor:Exporter\n", "vendor-1.dist-info/entry_points.txt")
    programs.write("Name: vendor\nVersion: 1\n", "vendor-1.dist-info/METADATA")

    done = programs.python(DECORATED, environ={"OTEL_TRACES_EXPORTER": "otel_runs,vendor", "OTEL_RUNS_DB": "runs.db"})

    assert (done.returncode, done.stderr) == (0, "")
    assert '"name": "nightly"' in done.stdout
    assert runs_and_steps(programs) == [("nightly", "load")]


def test_exporter_variable_alone_writes_to_the_project_folder(programs: Programs) -> None:
    (programs.folder / "pyproject.toml").touch()
    programs.python(DECORATED, environ={"OTEL_TRACES_EXPORTER": "otel_runs"})

    programs.database = programs.folder / ".otel_runs" / "runs.db"
    assert runs_and_steps(programs) == [("nightly", "load")]


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"OTEL_RUNS_DB": "runs.db", "OTEL_SDK_DISABLED": "true"},
        {"OTEL_RUNS_DB": "runs.db", "OTEL_TRACES_EXPORTER": "none"},
        {"OTEL_TRACES_EXPORTER": "console"},
    ],
    ids=["nothing set", "sdk disabled", "no exporter", "another exporter"],
)
def test_decorated_code_stores_nothing_where_nobody_asked(programs: Programs, environ: dict[str, str]) -> None:
    done = programs.python(DECORATED, environ=environ)

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert [path.name for path in programs.folder.iterdir()] == ["pipeline.py"]


def test_without_settings_decorated_code_does_not_import_the_sdk(programs: Programs) -> None:
    done = programs.python(DECORATED + "import sys\nprint('opentelemetry.sdk' in sys.modules)")

    assert done.stdout == "False\n"


def test_calling_configure_again_alike_is_harmless_and_otherwise_told(programs: Programs) -> None:
    done = programs.python(
        """
        import otel_runs
        first = otel_runs.configure("runs.db")
        assert otel_runs.configure("runs.db") is first
        assert otel_runs.configure() is first
        print("quiet so far", flush=True)
        assert otel_runs.configure("other.db", environment="prod") is first
        """
    )

    assert done.returncode == 0
    assert "url='other.db' (is 'runs.db')" in done.stderr
    assert "environment='prod' (is None)" in done.stderr
    assert done.stderr.count("called again") == 1


def test_what_changed_is_told_without_passwords(programs: Programs) -> None:
    done = programs.python(
        """
        import otel_runs
        otel_runs.configure("postgresql://ada:s3cret1@127.0.0.1:1/runs", otlp_endpoint="http://ada:s3cret2@h:4318")
        otel_runs.configure("postgresql://ada:s3cret3@127.0.0.1:2/runs", otlp_endpoint="http://ada:s3cret4@i:4318")
        """
    )

    assert "url='postgresql://***@127.0.0.1:2/runs' (is 'postgresql://***@127.0.0.1:1/runs')" in done.stderr
    assert "otlp_endpoint='http://***@i:4318' (is 'http://***@h:4318')" in done.stderr
    assert "s3cret" not in done.stderr


@pytest.mark.parametrize(
    ("url", "told"),
    [("/", "names no file"), ("sqlite:///", "an SQLite database in memory"), ("sqlite:////", "names no file")],
)
def test_a_url_that_names_no_file_is_told_and_the_pipeline_runs(programs: Programs, url: str, told: str) -> None:
    done = programs.python(f"import otel_runs\notel_runs.configure({url!r})\n{PLAIN}\nprint('done')")

    assert (done.returncode, done.stdout) == (0, "done\n")
    assert told in done.stderr


def test_a_path_that_is_no_text_is_stored_and_has_a_spool_elsewhere(programs: Programs) -> None:
    done = programs.python(
        f"import os, otel_runs\notel_runs.configure(os.fsdecode(b'r\\xff.db'))\n{PLAIN}\nprint('done')",
        environ={"OTEL_RUNS_SPOOL": "sp"},
    )

    assert (done.returncode, done.stdout) == (0, "done\n")


BAD_SETTINGS = [
    {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
        "OTEL_EXPORTER_OTLP_COMPRESSION": "zstd",
    },
    {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "abc",
    },
    {"OTEL_SPAN_EVENT_COUNT_LIMIT": "abc"},
]
BAD_NAMES = ["compression", "timeout", "limit"]


@pytest.mark.parametrize("environ", BAD_SETTINGS, ids=BAD_NAMES)
def test_what_others_cannot_use_is_told_once_and_runs_are_stored(programs: Programs, environ: dict[str, str]) -> None:
    done = programs.python(f"import otel_runs\notel_runs.configure('runs.db')\n{PLAIN}", environ=environ)

    assert done.returncode == 0
    assert "Traceback" not in done.stderr
    assert done.stderr.count("cannot be used") == 1
    assert runs_and_steps(programs) == [("nightly", "load")]


@pytest.mark.parametrize("environ", BAD_SETTINGS, ids=BAD_NAMES)
def test_strict_raises_what_others_cannot_use(programs: Programs, environ: dict[str, str]) -> None:
    done = programs.python(
        f"import otel_runs\notel_runs.configure('runs.db')\n{PLAIN}", environ=environ | {"OTEL_RUNS_STRICT": "true"}
    )

    assert done.returncode == 1
    assert "SettingsError" in done.stderr


def test_strict_raises_when_configured_differently(programs: Programs) -> None:
    done = programs.python(
        "import otel_runs\notel_runs.configure('runs.db')\notel_runs.configure('other.db')",
        environ={"OTEL_RUNS_STRICT": "true"},
    )

    assert done.returncode == 1
    assert "SettingsError" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "environ", "expected"),
    [
        ("", {}, ("pipeline", "default")),
        ("service_name='shop', environment='prod'", {}, ("shop", "prod")),
        ("", {"OTEL_SERVICE_NAME": "billing"}, ("billing", "default")),
        ("", {"OTEL_RESOURCE_ATTRIBUTES": "service.name=a,deployment.environment.name=test"}, ("a", "test")),
        ("service_name='shop'", {"OTEL_SERVICE_NAME": "billing"}, ("shop", "default")),
    ],
    ids=["script", "arguments", "service variable", "resource variable", "argument over variable"],
)
def test_service_and_environment_come_from_argument_variable_or_script(
    programs: Programs, arguments: str, environ: dict[str, str], expected: tuple[str, str]
) -> None:
    programs.python(f"import otel_runs\notel_runs.configure('runs.db', {arguments})\n" + PLAIN, environ=environ)

    assert programs.rows("SELECT service_name, environment FROM runs") == [expected]


def test_a_module_run_by_name_is_its_service(programs: Programs) -> None:
    programs.write("", "shop/__init__.py")
    programs.write("import otel_runs\notel_runs.configure('runs.db')\n" + PLAIN, "shop/nightly.py")

    programs.run([sys.executable, "-m", "shop.nightly", "-m", "x"])

    assert programs.rows("SELECT service_name FROM runs") == [("shop.nightly",)]


def test_the_database_stays_where_it_was_meant_when_the_pipeline_changes_directory(programs: Programs) -> None:
    programs.python("import os, otel_runs\notel_runs.configure('runs.db')\nos.chdir('/')\n" + PLAIN)

    assert runs_and_steps(programs) == [("nightly", "load")]


def test_trace_ids_are_time_ordered_where_the_provider_is_ours(programs: Programs) -> None:
    programs.python("import otel_runs, time\notel_runs.configure('runs.db')\n" + (PLAIN + "time.sleep(0.01)\n") * 3)

    ids = [run_id for (run_id,) in programs.rows("SELECT id FROM runs ORDER BY started_at")]
    assert len(ids) == 3
    assert ids == sorted(ids)


def test_a_burst_larger_than_the_stock_queue_is_stored_whole(programs: Programs) -> None:
    programs.python(
        """
        import otel_runs
        from opentelemetry import trace
        otel_runs.configure("runs.db")
        tracer = trace.get_tracer("t")
        with tracer.start_as_current_span("nightly"):
            for _ in range(5_100):
                tracer.start_span("load").end()
        """
    )

    assert programs.rows("SELECT count(*) FROM model_runs") == [(5_100,)]


def test_library_instrumentation_makes_no_spans_of_our_own_writes(programs: Programs) -> None:
    done = programs.python(
        """
        import sqlite3, time
        import otel_runs
        from opentelemetry import trace
        from opentelemetry.instrumentation.sqlite3 import SQLite3Instrumentor
        from opentelemetry.sdk.trace import SpanProcessor
        setup = otel_runs.configure("runs.db")
        seen = []
        class Listener(SpanProcessor):
            def on_end(self, span): seen.append(span.name)
        setup.provider.add_span_processor(Listener())
        SQLite3Instrumentor().instrument()
        with trace.get_tracer("t").start_as_current_span("nightly"):
            sqlite3.connect(":memory:").cursor().execute("SELECT 1")
        assert setup.flush()
        print(seen, otel_runs.stats().spans_stored)
        """
    )

    assert (done.stdout, done.stderr) == ("['SELECT', 'nightly'] 2\n", "")
