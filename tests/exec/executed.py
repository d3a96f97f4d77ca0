"""Programs below ``otel-runs exec``, and the run that each leaves."""

from __future__ import annotations

from typing import Any

from tests.programs import Programs, otel_runs_command


def exec_line(*arguments: str) -> list[str]:
    return otel_runs_command("exec", "--db", "runs.db", *arguments)


def the_run(programs: Programs) -> tuple[Any, ...]:
    (run,) = programs.rows("SELECT name, status, stop_reason, status_source FROM runs")
    return run
