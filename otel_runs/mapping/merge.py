"""Two records of one span become one: the same, whichever came first (P1).

A span is told at most twice in different words: when it starts and when it ends; the end wins, and what only the start
said is kept. Everything else is the same span delivered again, perhaps on another way, where something was taken out of
it. What such records, of equal weight, tell is put together column by column, so that two databases agree however often
and in whatever order they came. (They may not agree on a column that a start tells, one end leaves out and another end
tells otherwise: no record remembers which of its values came from the start.)
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress
from typing import Any

from otel_runs.mapping.losses import LOST, REAPER
from otel_runs.records import DEFAULT_ENVIRONMENT, TERMINAL_MODEL_RUN_STATUSES, TERMINAL_RUN_STATUSES, ModelRun, Run

Record = Run | ModelRun


def merge_runs(one: Run, other: Run) -> Run:
    """One run from two records of it."""
    if one == other:
        return one
    merged = Run._make(_merged(one, other, _run_weight(one), _run_weight(other), _RUN_ENDING))
    environment = stated_environment(merged.environment, one.environment, other.environment)
    return merged._replace(environment=environment, **signs_of_life(one, other))


def stated_environment(chosen: str, one: str, other: str) -> str:
    """An environment chosen from two; the default, which stands where nothing is said, gives way to the other."""
    if chosen != DEFAULT_ENVIRONMENT:
        return chosen
    return other if one == DEFAULT_ENVIRONMENT else one


def signs_of_life(one: Run, other: Run) -> dict[str, Any]:
    """The columns that say whether a run lives, of two records of it: the latest, whatever else they are worth."""
    latest = max(one, other, key=lambda run: (-1 if run.heartbeat_at is None else run.heartbeat_at, run.process or ""))
    return {
        "heartbeat_at": latest.heartbeat_at,
        "process": latest.process,
        "lost_at": largest(one.lost_at, other.lost_at),
    }


def merge_model_runs(one: ModelRun, other: ModelRun) -> ModelRun:
    """One model run from two records of it."""
    if one == other:
        return one
    weights = _model_run_weight(one), _model_run_weight(other)
    return ModelRun._make(_merged(one, other, *weights, _MODEL_RUN_ENDING))


def _run_weight(run: Run) -> int:
    """How much a record's word counts: planned, running, presumed dead, ended."""
    if run.status in TERMINAL_RUN_STATUSES:
        return 2 if run.status_source == REAPER else 3
    return 1 if run.status == "running" else 0


def _model_run_weight(model_run: ModelRun) -> int:
    if model_run.status in TERMINAL_MODEL_RUN_STATUSES:
        return 2 if model_run.stop_reason == LOST else 3
    return 1 if model_run.status == "running" else 0


def largest(one: Any, other: Any) -> Any:
    """The larger of two values; a value is larger than nothing, and mappings are put together key by key."""
    if one is None or other is None:
        return other if one is None else one
    if isinstance(one, dict) and isinstance(other, dict):
        return {key: largest(one.get(key), other.get(key)) for key in sorted({*one, *other})}
    return max(one, other, key=_size)


def _size(value: object) -> tuple[bool, float, str]:
    """What two values of any types are compared by; numbers by what they are worth."""
    is_number = isinstance(value, (int, float))
    return is_number, value if isinstance(value, (int, float)) else 0, repr(value)


def _merged(one: Record, other: Record, weight: int, other_weight: int, ending: Sequence[bool]) -> list[Any]:
    """The columns of the merged record.

    A value once known is never replaced by nothing. What an end says of itself (where ``ending`` is true) holds as a
    whole, though: the error of a presumed death must not stay on a run that in truth succeeded.
    """
    if weight != other_weight:
        strong, weak = (one, other) if weight > other_weight else (other, one)
        return [
            value if value is not None or is_ending else weaker
            for value, weaker, is_ending in zip(strong, weak, ending, strict=True)
        ]
    last = max(one, other, key=lambda record: _end_of(record, ending))
    return [
        value if is_ending else largest(mine, others)
        for value, mine, others, is_ending in zip(last, one, other, ending, strict=True)
    ]


def _end_of(record: Record, ending: Sequence[bool]) -> tuple[int, list[tuple[bool, float, str]]]:
    return record.completed_at or 0, [_size(value) for value in compress(record, ending)]


_ENDING = {"status", "stop_reason", "status_source", "error", "error_type", "completed_at", "duration_ns"}
_RUN_ENDING = [name in _ENDING for name in Run._fields]
_MODEL_RUN_ENDING = [name in _ENDING for name in ModelRun._fields]
