"""Several root spans in one trace, of which one is the run, and the others are steps right below it. Pure.

The run is one that is marked as a run, if there is any, else the one that began first. What is below the others is
right below the run, too: one that was taken for the run until another one came has left it its children already.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from otel_runs.ids import row_id_from_span
from otel_runs.mapping.facts import UNKNOWN, Facts, model_from_path
from otel_runs.mapping.merge import merge_runs
from otel_runs.records import ModelRun, ModelRunStatus, Run

_STATUS: Final[dict[str, ModelRunStatus]] = {
    "created": "pending",
    "running": "running",
    "completed": "success",
    "failed": "failed",
    "cancelled": "cancelled",
}


def elected_root(records: Iterable[Run]) -> str | None:
    """The span id of the root span that is the run.

    Args:
        records: what root spans of one trace say of its run; of any of them several times.
    """
    roots: dict[str | None, Run] = {}
    for run in records:
        known = roots.get(run.root_span_id)
        roots[run.root_span_id] = run if known is None else merge_runs(known, run)
    return min(roots.values(), key=_rank).root_span_id


def _rank(run: Run) -> tuple[bool, int, str]:
    return not run.marked, run.started_at, run.root_span_id or ""


def step_of_root(run: Run) -> Facts:
    """What a root span says that is not the run.

    From its run, because that is all that is stored of one that was taken for the run: what only steps have (attempt,
    kind, model) is left out.

    Args:
        run: as the root span states it.
    """
    node_id = row_id_from_span(run.trace_id, run.root_span_id or "")
    model = model_from_path(run.name, "step")
    step = ModelRun(
        id=node_id,
        run_id="",
        model_id=model.id,
        parent_id=run.id,
        trace_id=run.trace_id,
        span_id=run.root_span_id or "",
        kind="step",
        name=run.name,
        attempt=1,
        status="skipped" if run.stop_reason == "skipped" else _STATUS[run.status],
        stop_reason=run.stop_reason,
        error=run.error,
        error_type=run.error_type,
        started_at=run.started_at,
        completed_at=run.completed_at,
        duration_ns=run.duration_ns,
        rows_affected=None,
        rows_in=run.rows_in,
        rows_out=run.rows_out,
        llm_provider=None,
        llm_model=None,
        input_tokens=run.input_tokens,
        output_tokens=run.output_tokens,
        tokens=run.tokens,
        cost_usd=run.cost_usd,
        metadata=run.metadata,
    )
    return Facts(
        trace_id=run.trace_id,
        node_id=node_id,
        parent_node_id=run.id,
        started_at=run.started_at,
        service_name=run.service_name or UNKNOWN,
        environment=run.environment,
        run_id="",
        run=None,
        model_run=step,
        model=model,
        declares=False,
        stamped=True,
    )
