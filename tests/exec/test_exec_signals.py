"""Signals below ``otel-runs exec``: they reach the program, and the run says which ended it."""

from __future__ import annotations

import os
import signal
import sys

import pytest

from tests.exec.executed import exec_line, the_run
from tests.programs import TIMEOUT, Programs
from tests.systems import needs_posix_spawn

pytestmark = needs_posix_spawn


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


def test_the_program_starts_with_default_signal_dispositions(programs: Programs) -> None:
    program = programs.write("import signal; print(sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())))")

    assert programs.run(exec_line("--", sys.executable, str(program))).stdout == "[]\n"
    assert programs.run(exec_line("--", "sh", "-c", "kill -PIPE $$")).returncode == 128 + signal.SIGPIPE
