"""Runs as they stand: what their own span states, and what is derived from others. Pure.

Which columns were derived is kept beside the run, so that it can be derived again when more arrives: what a span says
about itself wins over what was derived, and what was derived gives way.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, NamedTuple

from otel_runs.mapping.losses import LOST, ends_open_steps, is_lost, lost_run, unlost_run
from otel_runs.mapping.merge import largest, merge_runs, signs_of_life, stated_environment
from otel_runs.mapping.totals import Totals, sum_of_costs, sum_of_counts
from otel_runs.records import TERMINAL_MODEL_RUN_STATUSES, TERMINAL_RUN_STATUSES, ModelRun, Run, RunStatus

_TOKENS: Final = ("input_tokens", "output_tokens", "tokens")


NOTHING_DERIVED: Final[Mapping[str, int | None]] = {}


class RunState(NamedTuple):
    """A run, and how it came to be what it is."""

    run: Run
    derived: Mapping[str, int | None] = NOTHING_DERIVED
    """Columns whose values come from other spans than the run's own, each with the value that its own span states; and
    ``lost``, if the run's end is one that is presumed."""
    loose: bool = False
    """Some span of its trace came without a stamp: its place follows from the chain of parents alone."""

    @property
    def ended(self) -> bool:
        """Whether the run is over."""
        return self.run.status in TERMINAL_RUN_STATUSES

    @property
    def is_lost(self) -> bool:
        """Whether the run is over only because it was not heard of again."""
        return LOST in self.derived

    @property
    def ends_open_steps(self) -> bool:
        """Whether the model runs that are open in it ended with it, as far as is known."""
        return self.ended and ends_open_steps(self.run)

    @property
    def is_placeholder(self) -> bool:
        """Whether the run is known only through its children."""
        return self.run.root_span_id is None


class Seen(NamedTuple):
    """What a child tells of a run whose own span is not known; the smallest of all wins, so the earliest."""

    started_at: int
    service_name: str
    environment: str
    trace_id: str


def placeholder(run_id: str, parent_run_id: str | None, seen: Seen) -> RunState:
    """A run of which only a child has been seen: running, and named after its service."""
    run = Run(
        id=run_id,
        trace_id=seen.trace_id,
        parent_run_id=parent_run_id,
        name=seen.service_name,
        environment=seen.environment,
        service_name=seen.service_name,
        started_at=seen.started_at,
    )
    return RunState(run)


def with_seen(state: RunState, seen: Seen) -> RunState:
    """A placeholder after another child was seen."""
    run = state.run
    known = Seen(run.started_at, run.service_name or "", run.environment, run.trace_id)
    if not state.is_placeholder or known <= seen:
        return state
    run = run._replace(
        started_at=seen.started_at,
        service_name=seen.service_name,
        name=seen.service_name,
        environment=seen.environment,
        trace_id=seen.trace_id,
    )
    return state._replace(run=run)


def with_stated(state: RunState | None, stated: Run) -> RunState:
    """The run after its own span was heard (again)."""
    if state is None:
        return RunState(stated)
    if state.is_placeholder:
        if state.run.lost_at is not None:  # said of the run while another span was taken for it (mapping/roots.py)
            stated = stated._replace(lost_at=state.run.lost_at)
        return RunState(stated, NOTHING_DERIVED, state.loose)
    return RunState(merge_runs(stated_part(state), stated), NOTHING_DERIVED, state.loose)


def stated_part(state: RunState) -> Run:
    """The run less everything derived."""
    if not state.derived:
        return state.run
    stated: dict[str, Any] = {**state.derived}
    if "status" in stated:
        stated["status"] = "completed"
    if LOST in stated:
        del stated[LOST]
        return unlost_run(state.run)._replace(**stated)
    return state.run._replace(**stated)


def with_loss(state: RunState) -> RunState:
    """The run, ended if it counts as lost, and going on if it does no longer.

    Args:
        state: the run; its totals are left out, and what its rows tell of its end; ``with_totals`` derives both.
    """
    if state.run.lost_at is None:
        return state
    return _judged(RunState(stated_part(state), NOTHING_DERIVED, state.loose))


def _judged(state: RunState, heard_at: int = 0) -> RunState:
    """A run whose end, if it has one, is its own; ended if it counts as lost."""
    if not is_lost(state.run):
        return state
    return state._replace(run=lost_run(state.run, heard_at), derived={**state.derived, LOST: None})


def with_last_sign(state: RunState, lost_at: int) -> RunState:
    """The run after somebody took its sign of life at ``lost_at`` for its last one."""
    return state._replace(run=state.run._replace(lost_at=largest(state.run.lost_at, lost_at)))


def with_totals(state: RunState, totals: Totals, steps: int, heard_at: int = 0) -> RunState:
    """A run with what its rows add up to.

    Args:
        state: the run; totals derived before are replaced.
        totals: of its rows, and of the runs nested in it.
        steps: number of its rows.
        heard_at: of a run that counts as lost: the latest start or end of them and of the runs nested in it.
    """
    stated = stated_part(state)
    found: dict[str, Any] = {
        name: getattr(totals, name)
        for name in ("rows_in", "rows_out", "llm_calls", "cost_usd", "retry_count")
        if getattr(stated, name) is None and getattr(totals, name) is not None
    }
    found["steps"] = steps
    if totals.tokens is not None:
        # A root span that is an agent repeats its calls' tokens: they are leaves, it is not.
        found.update((name, getattr(totals, name)) for name in _TOKENS)
    if stated.status == "completed" and totals.failed:
        found["status"] = "degraded"
    derived = {name: getattr(stated, name) if name in _TOKENS else None for name in found}
    return _judged(RunState(stated._replace(**found), derived, state.loose), heard_at)


def keyed_run(state: RunState, anchors: Sequence[ModelRun], traces: Collection[str]) -> RunState:
    """A run with a key, from its parts.

    It lives while one of its parts does: its heartbeat is the latest of all, and only when none is heard of any more it
    may be lost, with the parts that have not ended. What they state of rows and cost, added up, it states itself.

    Args:
        state: what the anchors state of it beyond themselves (name, environment ...).
        anchors: the model runs that are the run's part in one process.
        traces: ids of all traces that have a row in the run.
    """
    if not anchors:
        return state
    first = min(anchors, key=lambda anchor: (anchor.started_at, anchor.id))
    run = stated_part(state)._replace(
        trace_id=first.trace_id,
        root_span_id=first.span_id,
        started_at=first.started_at,
        status="running",
        stop_reason=None,
        status_source=None,
        error=None,
        error_type=None,
        completed_at=None,
        duration_ns=None,
        rows_in=None,
        rows_out=None,
        cost_usd=None,
    )
    open_ = [anchor for anchor in anchors if anchor.status not in TERMINAL_MODEL_RUN_STATUSES]
    if open_ or {anchor.trace_id for anchor in anchors} != set(traces):
        return RunState(run, NOTHING_DERIVED, state.loose)
    completed = max(anchor.completed_at or anchor.started_at for anchor in anchors)
    blamed = _blamed(anchors)
    run = run._replace(
        status=_KEYED_STATUS[blamed.status],
        stop_reason=blamed.stop_reason,
        status_source="span",
        error=blamed.error,
        error_type=blamed.error_type,
        completed_at=completed,
        duration_ns=max(0, completed - first.started_at),
        rows_in=sum_of_counts([anchor.rows_in for anchor in anchors]),
        rows_out=sum_of_counts([anchor.rows_out for anchor in anchors]),
        cost_usd=sum_of_costs([anchor.cost_usd for anchor in anchors]),
    )
    return RunState(run, NOTHING_DERIVED, state.loose)


_KEYED_STATUS: Final[dict[str, RunStatus]] = {
    "failed": "failed",
    "cancelled": "cancelled",
    "skipped": "completed",
    "success": "completed",
}


def _blamed(anchors: Sequence[ModelRun]) -> ModelRun:
    """The anchor whose ending is the run's: the first that failed, else the first cancelled, else the first."""
    order = {"failed": 0, "cancelled": 1, "success": 2, "skipped": 3}
    return min(anchors, key=lambda anchor: (order[anchor.status], anchor.started_at, anchor.id))


def keyed_part(state: RunState | None, stated: Run) -> RunState:
    """A run with a key after one of its anchors was heard: column by column the largest value any of them states.

    Which anchor is heard first is chance; the largest value is the same whatever the order.
    """
    if state is None or state.is_placeholder:
        # What an anchor says of itself alone is in its model run; the run derives it from all of them.
        kept = {"root_span_id", "started_at", "heartbeat_at", "process", *_SHARED}
        blank = {name: default for name, default in Run._field_defaults.items() if name not in kept}
        return RunState(stated._replace(**blank), NOTHING_DERIVED, state.loose if state else False)
    merged: dict[str, Any] = {name: largest(getattr(state.run, name), getattr(stated, name)) for name in _SHARED}
    merged["environment"] = stated_environment(merged["environment"], state.run.environment, stated.environment)
    return state._replace(run=state.run._replace(**merged, **signs_of_life(state.run, stated)))


_SHARED: Final = (
    "name",
    "environment",
    "tenant_id",
    "input_fingerprint",
    "code_ref",
    "config_hash",
    "service_name",
    "external_id",
    "session_id",
    "background",
    "metadata",
    "run_key",
)
"""Columns that every anchor of a run with a key may state for the whole."""
