"""``otel-runs exec`` with real processes."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

from otel_runs.launch.command import name_of
from tests.exec.executed import exec_line, the_run
from tests.programs import TIMEOUT, Programs, otel_runs_command, words_of
from tests.systems import needs_posix_spawn

pytestmark = needs_posix_spawn


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
