"""Two records of one span become one: the same, whichever came first (P1).

A span is told at most twice in different words: when it starts and when it ends; the end wins, and what only the start
said is kept. Everything else is the same span delivered again. Between records of equal weight that differ all the
same (a broken sender), a fixed order decides, so that two databases agree.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from otel_runs.records import TERMINAL_MODEL_RUN_STATUSES, TERMINAL_RUN_STATUSES, ModelRun, Run

Record = Run | ModelRun

_PRESUMED_BY = "reaper"
_PRESUMED_REASON = "lost"


def merge_runs(one: Run, other: Run) -> Run:
    """One run from two records of it."""
    return one if one == other else Run._make(_merged(one, other, _run_weight(one), _run_weight(other), _RUN_ENDING))


def merge_model_runs(one: ModelRun, other: ModelRun) -> ModelRun:
    """One model run from two records of it."""
    if one == other:
        return one
    weights = _model_run_weight(one), _model_run_weight(other)
    return ModelRun._make(_merged(one, other, *weights, _MODEL_RUN_ENDING))


def _run_weight(run: Run) -> int:
    """How much a record's word counts: planned, running, presumed dead, ended."""
    if run.status in TERMINAL_RUN_STATUSES:
        return 2 if run.status_source == _PRESUMED_BY else 3
    return 1 if run.status == "running" else 0


def _model_run_weight(model_run: ModelRun) -> int:
    if model_run.status in TERMINAL_MODEL_RUN_STATUSES:
        return 2 if model_run.stop_reason == _PRESUMED_REASON else 3
    return 1 if model_run.status == "running" else 0


def _merged(one: Record, other: Record, weight: int, other_weight: int, ending: frozenset[int]) -> Iterator[Any]:
    """The columns of the merged record.

    A value once known is never replaced by nothing. What an end says of itself (``ending``) holds as a whole, though:
    the error of a presumed death must not stay on a run that in truth succeeded.
    """
    if weight == other_weight:
        strong, weak = (one, other) if _order(one) >= _order(other) else (other, one)
    else:
        strong, weak = (one, other) if weight > other_weight else (other, one)
    for index, (value, weaker) in enumerate(zip(strong, weak, strict=True)):
        keeps = value is not None or (weight != other_weight and index in ending)
        yield value if keeps else weaker


def _order(record: Record) -> tuple[int, str]:
    return (record.completed_at or 0, repr(tuple(record)))


def _positions(kind: type[Any]) -> frozenset[int]:
    names = ("status", "stop_reason", "status_source", "error", "error_type", "completed_at", "duration_ns")
    return frozenset(kind._fields.index(name) for name in names if name in kind._fields)


_RUN_ENDING = _positions(Run)
_MODEL_RUN_ENDING = _positions(ModelRun)
