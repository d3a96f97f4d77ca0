"""A pipeline is run and looked into: trouble is provoked in a real process, and nothing is said of a sound one."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.programs import Programs, otel_runs_command

SOUND = """
from concurrent.futures import ThreadPoolExecutor
from otel_runs import carry, configure, run, step

@step
def load(number): return number

@run
def nightly():
    with ThreadPoolExecutor(2) as pool: list(pool.map(carry(load), range(3)))

configure()
nightly()
"""
SECOND_PROVIDER = """
from opentelemetry.sdk.trace import TracerProvider
from otel_runs import configure, run

configure()
with run("nightly"):
    TracerProvider().get_tracer("mine").start_span("elsewhere", context={}).end()
"""
LATE_PROVIDER = """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from otel_runs import configure, run

configure()
trace.set_tracer_provider(TracerProvider())
with run("nightly"): pass
"""
NOT_SET_UP = """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

trace.set_tracer_provider(TracerProvider())
with trace.get_tracer("mine").start_as_current_span("nightly"): pass
"""
SAMPLED_OUT = """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from otel_runs import RunsSpanExporter

provider = TracerProvider(sampler=ALWAYS_OFF)
provider.add_span_processor(BatchSpanProcessor(RunsSpanExporter()))
with provider.get_tracer("mine").start_as_current_span("nightly"): pass
"""
LOST_CONTEXT = SOUND.replace("carry(load)", "load")
REQUESTS = """
from otel_runs import configure, run

configure()
for number in range(3):
    with run("request"): pass
"""
FAILING = REQUESTS + "raise SystemExit(7)\n"


def doctor(folder: Path, *command: str) -> tuple[int, list[str], list[dict[str, str]]]:
    programs = Programs(folder)
    done = programs.run(
        otel_runs_command("doctor", "--json", "--", *command), environ={"OTEL_RUNS_DB": str(programs.database)}
    )
    found = json.loads(done.stdout)
    return done.returncode, [finding["check"] for finding in found], found


@pytest.mark.parametrize(
    ("program", "code", "checks"),
    [
        (SOUND, 0, []),
        (FAILING, 0, ["program"]),
        (LATE_PROVIDER, 1, ["late-provider"]),
        (NOT_SET_UP, 1, ["not-set-up", "database"]),
        (SAMPLED_OUT, 1, ["sampled-roots", "database"]),
    ],
    ids=["sound", "failing", "late provider", "not set up", "sampled out"],
)
def test_process_is_looked_into(tmp_path: Path, program: str, code: int, checks: list[str]) -> None:
    path = Programs(tmp_path).write(program)
    ended, found, _ = doctor(tmp_path, sys.executable, str(path))
    assert (ended, found) == (code, checks)


def test_steps_that_lost_their_run_in_a_thread_are_told_by_process_and_by_tables(tmp_path: Path) -> None:
    path = Programs(tmp_path).write(LOST_CONTEXT)
    ended, found, findings = doctor(tmp_path, sys.executable, str(path))
    assert (ended, found) == (1, ["lost-contexts", "lost-contexts"])
    assert "load (3)" in findings[0]["found"]


def test_second_provider_is_told_with_the_lines_of_the_program_that_made_both(tmp_path: Path) -> None:
    path = Programs(tmp_path).write(SECOND_PROVIDER)
    ended, found, findings = doctor(tmp_path, sys.executable, str(path))
    assert (ended, found) == (1, ["two-providers"])
    assert f"{path}:5" in findings[0]["found"]
    assert f"{path}:7 (1 root span)" in findings[0]["found"]


def test_spans_that_were_lost_are_told(tmp_path: Path) -> None:
    path = Programs(tmp_path).write(REQUESTS)
    (tmp_path / "runs.db").mkdir()  # where the database should be
    _, found, _ = doctor(tmp_path, "env", "OTEL_RUNS_SPOOL=off", sys.executable, str(path))
    assert "lost-spans" in found


def test_program_that_cannot_be_started_or_is_no_python_is_told(tmp_path: Path) -> None:
    assert doctor(tmp_path, "no-such-program")[:2] == (1, ["program", "database"])
    assert doctor(tmp_path, "true")[:2] == (1, ["program", "database"])


def test_what_the_program_prints_is_kept_out_of_the_json(tmp_path: Path) -> None:
    path = Programs(tmp_path).write("print('[hello')")
    programs = Programs(tmp_path)
    environ = {"OTEL_RUNS_DB": str(programs.database)}
    done = programs.run(otel_runs_command("doctor", "--json", "--", sys.executable, str(path)), environ=environ)
    assert ([one["check"] for one in json.loads(done.stdout)], done.stderr) == (["database"], "[hello\n")
    done = programs.run(otel_runs_command("doctor", "--", sys.executable, str(path)), environ=environ)
    assert (done.stdout.splitlines()[0], done.stderr) == ("[hello", "")


def test_program_that_otel_runs_exec_runs_is_looked_into_and_its_steps_are_recorded(tmp_path: Path) -> None:
    programs = Programs(tmp_path)
    path = programs.write(NOT_SET_UP)
    ended, found, _ = doctor(tmp_path, *otel_runs_command("exec", "--", sys.executable, str(path)))
    assert (ended, found) == (0, [])
    assert programs.rows("SELECT name FROM model_runs") == [("nightly",)]
