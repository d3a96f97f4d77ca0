"""The death by a signal is delayed for a bounded time only."""

from __future__ import annotations

import signal
import sys
import time

from tests.export.signalled import CANCELLED, HEAD, NIGHTLY, await_line, killed, started, the_run
from tests.programs import TIMEOUT, Programs
from tests.systems import needs_signals

pytestmark = needs_signals


def test_a_database_that_never_answers_delays_the_death_by_the_timeout_only(
    programs: Programs, silent_database: str
) -> None:
    died = killed(programs, NIGHTLY, signal.SIGTERM, environ={"URL": silent_database, "OTEL_RUNS_SIGNAL_TIMEOUT": "1"})

    assert died.code == -signal.SIGTERM
    assert 0.9 < died.seconds < 30
    assert "spans are not stored" in died.stderr


UNTIL_ASKED = """
otel_runs.configure(url)
with run("nightly") as handle:
    print("ready", flush=True)
    while handle.span.is_recording(): time.sleep(0.01)
    print("ending", flush=True)
    stay()
"""


def test_a_second_signal_kills_at_once(programs: Programs, silent_database: str) -> None:
    command = [sys.executable, str(programs.write(HEAD + UNTIL_ASKED))]
    environ = {"URL": silent_database, "OTEL_RUNS_SIGNAL_TIMEOUT": str(TIMEOUT)}
    with started(programs, command, environ=environ) as process:
        process.send_signal(signal.SIGTERM)
        await_line(process, "ending")
        process.send_signal(signal.SIGHUP)
        assert process.wait(TIMEOUT / 2) == -signal.SIGHUP


def test_the_same_signal_that_comes_twice_at_once_is_one(programs: Programs, silent_database: str) -> None:
    command = [sys.executable, str(programs.write(HEAD + UNTIL_ASKED))]
    environ = {"URL": silent_database, "OTEL_RUNS_SIGNAL_TIMEOUT": "2"}
    with started(programs, command, environ=environ) as process:
        start = time.monotonic()
        process.send_signal(signal.SIGTERM)
        await_line(process, "ending")
        process.send_signal(signal.SIGTERM)
        assert process.wait(TIMEOUT) == -signal.SIGTERM
        assert time.monotonic() - start > 1  # it went on storing what it had


def test_a_bad_timeout_is_told_and_the_default_taken(programs: Programs) -> None:
    # What takes long on a busy machine, the opening of the database, is done before.
    program = NIGHTLY.replace("ready()", "otel_runs.configure().flush(); ready()")

    died = killed(programs, program, signal.SIGTERM, environ={"OTEL_RUNS_SIGNAL_TIMEOUT": "soon"})

    assert died.code == -signal.SIGTERM
    assert "OTEL_RUNS_SIGNAL_TIMEOUT is 'soon'" in died.stderr
    assert the_run(programs) == CANCELLED
