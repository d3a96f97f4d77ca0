"""Runs that are presumed dead, and the steps that were open in them. Pure.

A loss is derived, like a total: of the sign of life that somebody took for the last one (``Run.lost_at``), and of the
latest one that is known. A later heartbeat revives the run, a real end ends it, and neither has to know of the loss. So
rows do not depend on what came first. What a step did after the last heartbeat revives nothing, for it may have been
known when the run was declared lost; but the run did not end before it.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from otel_runs.records import ModelRun, Run
from otel_runs.units import time_from_ns

LOST: Final = "lost"
"""The stop reason; and, in ``RunState.derived``, what marks a run whose end is derived here."""
REAPER: Final = "reaper"
"""The status source."""
STEP_ERROR: Final = "Lost with its run: its process has ended or was not heard of again, and nobody saw its end."
_ENDS_OF_PROCESSES: Final = ("exit:", "signal:")
"""How the stop reasons begin that say that a process ended."""


class Loss(NamedTuple):
    """Somebody's word that a run is lost. It holds while no later heartbeat and no end of the run is known."""

    run_id: str
    trace_id: str
    """Of the run's row."""
    heartbeat_at: int
    """The last sign of life that is known to who says so."""


def is_lost(run: Run) -> bool:
    """Whether a run, as its own spans tell it, counts as lost."""
    if run.status != "running" or run.lost_at is None:
        return False
    return run.heartbeat_at is None or run.heartbeat_at <= run.lost_at


def ends_open_steps(run: Run) -> bool:
    """Whether what is open in a run went with it: it counts as lost, or its process ended before its steps did.

    A run with a key may go on in other processes.
    """
    reason = run.stop_reason or ""
    return reason == LOST or (run.run_key is None and reason.startswith(_ENDS_OF_PROCESSES))


def lost_run(run: Run, heard_at: int = 0) -> Run:
    """The run, ended by its loss. It ends with its last sign of life: nobody knows more.

    Args:
        run: as its own spans tell it.
        heard_at: when what is in it was last heard of, by its starts and ends.
    """
    at = max(run.lost_at or 0, run.started_at, heard_at)
    return run._replace(
        status="failed",
        stop_reason=LOST,
        status_source=REAPER,
        error=f"No sign of life since {time_from_ns(at):%Y-%m-%d %H:%M:%S} UTC, and no end: the process was killed, or "
        "its machine or its way here failed. It counts as lost until it is heard of again.",
        completed_at=at,
        duration_ns=at - run.started_at,
    )


def unlost_run(run: Run) -> Run:
    """A run that ``lost_run`` ended, as it was."""
    return run._replace(
        status="running", stop_reason=None, status_source=None, error=None, completed_at=None, duration_ns=None
    )


def unlost_step(step: ModelRun) -> ModelRun:
    """A model run, less what the loss of its run made of it.

    Such an end has no duration, because nobody saw it; every end that a span tells has one.
    """
    if step.stop_reason != LOST or step.status != "failed" or step.duration_ns is not None:
        return step
    return step._replace(status="running", stop_reason=None, error=None, completed_at=None)
