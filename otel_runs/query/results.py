"""What the read side returns: runs, model runs and models as they stand in the database. Frozen; no SQL.

Field order is the order of the views' columns that docs/sql.md describes. Times are aware UTC. None means not reported,
0 means zero.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

if TYPE_CHECKING:
    from datetime import datetime


ModelOrder = Literal["path", "runs", "success", "average", "slowest", "latest"]
"""What a list of models can be ordered by."""
MODEL_ORDERS: Final[tuple[ModelOrder, ...]] = ("path", "runs", "success", "average", "slowest", "latest")


class StoredRun(NamedTuple):
    """One run: a row of the view ``v_runs``, which leaves out runs marked as deleted.

    While the run has not ended, its totals (steps, rows, tokens, cost) are those so far.
    """

    id: str
    trace_id: str
    root_span_id: str | None
    parent_run_id: str | None
    name: str
    environment: str
    tenant_id: str | None
    status: str
    stop_reason: str | None
    status_source: str | None
    error: str | None
    error_type: str | None
    started_at: datetime
    completed_at: datetime | None
    duration_ns: int | None
    duration_seconds: float | None
    heartbeat_at: datetime | None
    rows_in: int | None
    rows_out: int | None
    llm_calls: int | None
    input_tokens: int | None
    output_tokens: int | None
    tokens: int | None
    cost_usd: float | None
    ttft_ns: int | None
    steps: int | None
    steps_expected: int | None
    retry_count: int | None
    input_fingerprint: str | None
    code_ref: str | None
    config_hash: str | None
    service_name: str | None
    external_id: str | None
    session_id: str | None
    background: bool | None
    metadata: dict[str, Any] | None
    run_key: str | None
    completeness: str
    """``complete``, ``partial`` or, where the run has not ended or did not say how many steps it had, ``unknown``."""
    steps_missing: int | None
    """Steps that the run's own process saw end and that are not here; None where it did not say."""


class StoredModelRun(NamedTuple):
    """One model run: a row of the view ``v_model_runs``."""

    id: str
    run_id: str
    model_id: str
    parent_id: str | None
    """The model run or run above; it may name a row that is not here."""
    trace_id: str
    span_id: str
    kind: str
    name: str
    attempt: int
    status: str
    stop_reason: str | None
    error: str | None
    error_type: str | None
    started_at: datetime
    completed_at: datetime | None
    execution_ms: int | None
    duration_ns: int | None
    rows_affected: int | None
    rows_in: int | None
    rows_out: int | None
    llm_provider: str | None
    llm_model: str | None
    input_tokens: int | None
    output_tokens: int | None
    tokens: int | None
    cost_usd: float | None
    metadata: dict[str, Any] | None
    model_path: str
    model_name: str
    materialized: str | None
    run_name: str
    environment: str
    run_status: str


class ModelStatistics(NamedTuple):
    """How one model has done over all its runs: a row of the view ``v_model_stats``."""

    model_id: str
    path: str
    name: str
    kind: str
    runs: int
    successful: int
    failed: int
    skipped: int
    success_rate: float | None
    """Percent that succeeded, of those that succeeded, failed or were cancelled; None before the first of these."""
    avg_ms: float | None
    min_ms: int | None
    max_ms: int | None
    rows_affected: int | None
    last_started_at: datetime | None
    last_status: str | None


class RunTree(NamedTuple):
    """A run with what hangs on it."""

    run: StoredRun
    nested_runs: list[StoredRun]
    """The runs below it, at any depth; each names the one above it in ``parent_run_id``."""
    model_runs: list[StoredModelRun]
    """Model runs of the run and of its nested runs."""
    hidden_runs: int
    """Nested runs that the limit left out."""
    hidden_model_runs: int
    """Model runs that the limit left out."""
    hidden_failures: int
    """Those of them that failed."""
