"""The values that layers pass: one run, one model run, one model. Frozen; no SQL.

Named tuples, not dataclasses: a frozen dataclass of thirty fields takes 3 microseconds to make, a tuple 0.4, and one is
made for every span. Field order is column order.

Times are integer nanoseconds since the Unix epoch, UTC. None means not reported, 0 means zero.
"""

from __future__ import annotations

from typing import Any, Final, Literal, NamedTuple

RunStatus = Literal["created", "running", "completed", "degraded", "failed", "cancelled"]
ModelRunStatus = Literal["pending", "running", "success", "failed", "skipped", "cancelled"]
Kind = Literal["model", "step", "task", "agent", "llm", "tool", "query"]

RUN_STATUSES: Final[tuple[RunStatus, ...]] = ("created", "running", "completed", "degraded", "failed", "cancelled")
MODEL_RUN_STATUSES: Final[tuple[ModelRunStatus, ...]] = (
    "pending",
    "running",
    "success",
    "failed",
    "skipped",
    "cancelled",
)
KINDS: Final[tuple[Kind, ...]] = ("model", "step", "task", "agent", "llm", "tool", "query")
TERMINAL_RUN_STATUSES: Final[frozenset[str]] = frozenset({"completed", "degraded", "failed", "cancelled"})
TERMINAL_MODEL_RUN_STATUSES: Final[frozenset[str]] = frozenset({"success", "failed", "skipped", "cancelled"})

DEFAULT_ENVIRONMENT: Final = "default"
EXTERNAL_ID_LENGTH: Final = 64
"""Characters of a run's ``external_id``; a longer one is cut."""


class Run(NamedTuple):
    """One execution of a pipeline: a row of ``runs``."""

    id: str
    """UUID as text, computed from the trace (see ids.py)."""
    trace_id: str
    """32 hexadecimal digits; the way to the trace."""
    root_span_id: str | None = None
    """Span id of the run's own span; None until that span is known."""
    parent_run_id: str | None = None
    """The run this one is nested in."""
    name: str = ""
    environment: str = DEFAULT_ENVIRONMENT
    tenant_id: str | None = None
    status: RunStatus = "running"
    stop_reason: str | None = None
    """``completed``, ``error``, ``cancelled``, ``timeout``, ``signal:SIGTERM``, ``exit:3``, ``lost`` or a tool's."""
    status_source: str | None = None
    """Who said so: ``span``, ``signal``, ``reaper`` or ``user``."""
    error: str | None = None
    """Type, message and stack trace."""
    error_type: str | None = None
    started_at: int = 0
    completed_at: int | None = None
    duration_ns: int | None = None
    heartbeat_at: int | None = None
    rows_in: int | None = None
    rows_out: int | None = None
    llm_calls: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    tokens: int | None = None
    cost_usd: float | None = None
    ttft_ns: int | None = None
    """Time to first token, nanoseconds."""
    steps: int | None = None
    """Model runs recorded; filled in when the run has ended."""
    steps_expected: int | None = None
    """Steps that the run's own process saw end."""
    retry_count: int | None = None
    input_fingerprint: str | None = None
    code_ref: str | None = None
    """Commit id; ends in ``-dirty`` where the working tree differed."""
    config_hash: str | None = None
    service_name: str | None = None
    external_id: str | None = None
    """The user's own id of the run."""
    session_id: str | None = None
    background: bool | None = None
    metadata: dict[str, Any] | None = None
    deleted_at: int | None = None
    run_key: str | None = None
    """The key that joins several traces into this run."""
    process: str | None = None
    """Which process of which machine was heard of at ``heartbeat_at`` (see process.py)."""
    lost_at: int | None = None
    """The last sign of life that was known to who declared the run lost; a later heartbeat revives it."""
    marked: bool | None = None
    """Its span says that it is a run; None: it does not. Of several root spans of a trace, such a one is the run."""


class ModelRun(NamedTuple):
    """One model or step executed inside a run: a row of ``model_runs``."""

    id: str
    run_id: str
    model_id: str
    parent_id: str | None
    """The nearest ancestor with a row: a model run, or the run itself. It may name a row that has not arrived yet."""
    trace_id: str
    span_id: str
    kind: Kind
    name: str
    attempt: int
    """Which try of the step this is; the first is 1."""
    status: ModelRunStatus
    stop_reason: str | None
    error: str | None
    error_type: str | None
    started_at: int
    completed_at: int | None
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

    def placed(self, run_id: str, parent_id: str | None) -> ModelRun:
        """The same model run in another place. Six times as fast as ``_replace``, and done for nearly every row."""
        return ModelRun._make((self[0], run_id, self[2], parent_id, *self[4:]))


class Model(NamedTuple):
    """A thing that is executed, by path, as one span declares it: a row of ``models``."""

    id: str
    path: str
    name: str
    kind: Kind
    materialized: str | None = None
    content_hash: str | None = None
    owner: str | None = None
    schema_name: str | None = None
    tags: tuple[str, ...] | None = None
    depends_on: tuple[str, ...] | None = None
    """Paths of the models this one reads."""
