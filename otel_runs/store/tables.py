"""The tables. Names and columns are a public interface (docs/sql.md); views are in views.py.

No table names a schema: on PostgreSQL the connection's ``search_path`` does.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    text,
)

from otel_runs.store.types import Id, Json, UtcTime

metadata: Final = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

runs: Final = Table(
    "runs",
    metadata,
    Column("id", Id, primary_key=True),
    Column("trace_id", Text, nullable=False),
    Column("root_span_id", Text),
    Column("parent_run_id", Id, ForeignKey("runs.id", ondelete="CASCADE")),
    Column("name", Text, nullable=False),
    Column("environment", Text, nullable=False),
    Column("tenant_id", Text),
    Column("status", Text, nullable=False),
    Column("stop_reason", Text),
    Column("status_source", Text),
    Column("error", Text),
    Column("error_type", Text),
    Column("started_at", UtcTime, nullable=False),
    Column("completed_at", UtcTime),
    Column("duration_ns", BigInteger),
    Column("duration_seconds", Float),
    Column("heartbeat_at", UtcTime),
    Column("rows_in", BigInteger),
    Column("rows_out", BigInteger),
    Column("llm_calls", BigInteger),
    Column("input_tokens", BigInteger),
    Column("output_tokens", BigInteger),
    Column("tokens", BigInteger),
    Column("cost_usd", Float),
    Column("ttft_ns", BigInteger),
    Column("steps", BigInteger),
    Column("steps_expected", BigInteger),
    Column("retry_count", BigInteger),
    Column("input_fingerprint", Text),
    Column("code_ref", Text),
    Column("config_hash", Text),
    Column("service_name", Text),
    Column("external_id", Text),
    Column("session_id", Text),
    Column("background", Boolean),
    Column("metadata", Json),
    Column("deleted_at", UtcTime),
    Column("run_key", Text),
    # Not part of the public interface: what the write side must remember to derive a run again.
    Column("derived", Text, nullable=False, server_default=""),
    Column("loose", Boolean, nullable=False, server_default=text("false")),
    # Nor these: what tells whether a run that is said to be running still lives.
    Column("process", Text),
    Column("lost_at", UtcTime),
    Column("marked", Boolean),
)

models: Final = Table(
    "models",
    metadata,
    Column("id", Id, primary_key=True),
    Column("path", Text, nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("materialized", Text),
    Column("content_hash", Text),
    Column("owner", Text),
    Column("schema_name", Text),
    Column("tags", Json),
    Column("created_at", UtcTime, nullable=False),
    Column("updated_at", UtcTime, nullable=False),
    # Not public: the model run whose declaration stands (ties of updated_at are broken by it).
    Column("declared_by", Text, nullable=False, server_default=""),
)

model_runs: Final = Table(
    "model_runs",
    metadata,
    Column("id", Id, primary_key=True),
    Column("run_id", Id, ForeignKey("runs.id", ondelete="CASCADE"), nullable=False),
    Column("model_id", Id, ForeignKey("models.id"), nullable=False),
    Column("parent_id", Id),
    Column("trace_id", Text, nullable=False),
    Column("span_id", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("status", Text, nullable=False),
    Column("stop_reason", Text),
    Column("error", Text),
    Column("error_type", Text),
    Column("started_at", UtcTime, nullable=False),
    Column("completed_at", UtcTime),
    Column("execution_ms", BigInteger),
    Column("duration_ns", BigInteger),
    Column("rows_affected", BigInteger),
    Column("rows_in", BigInteger),
    Column("rows_out", BigInteger),
    Column("llm_provider", Text),
    Column("llm_model", Text),
    Column("input_tokens", BigInteger),
    Column("output_tokens", BigInteger),
    Column("tokens", BigInteger),
    Column("cost_usd", Float),
    Column("metadata", Json),
)

dependencies: Final = Table(
    "dependencies",
    metadata,
    Column("model_id", Id, ForeignKey("models.id", ondelete="CASCADE"), primary_key=True),
    Column("parent_id", Id, ForeignKey("models.id", ondelete="CASCADE"), primary_key=True),
    Index(None, "parent_id"),
)

environments: Final = Table(
    "environments",
    metadata,
    Column("name", Text, primary_key=True),
    Column("commit_ref", Text),
    Column("created_at", UtcTime, nullable=False),
    Column("updated_at", UtcTime, nullable=False),
    # Not public: the run that commit_ref is from.
    Column("declared_by", Text, nullable=False, server_default=""),
)

column_lineage: Final = Table(
    "column_lineage",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("model_id", Id, ForeignKey("models.id", ondelete="CASCADE"), nullable=False),
    Column("column_name", Text, nullable=False),
    Column("source_model_id", Id, ForeignKey("models.id", ondelete="CASCADE")),
    Column("source_table", Text),
    Column("source_column", Text),
    Column("transform", Text),
    Index(None, "model_id", "column_name"),
)

span_links: Final = Table(
    "span_links",
    metadata,
    # Not public. One row for each span whose place in the trace no row of model_runs shows: spans without a row, and
    # nested runs. Both ids are of the form of model_runs.id.
    Column("id", Id, primary_key=True),
    Column("parent_id", Id),
    Column("run_id", Id, ForeignKey("runs.id", ondelete="CASCADE"), nullable=False),
    Column("trace_id", Text, nullable=False),
    Index(None, "run_id"),
)

Index(None, runs.c.started_at, runs.c.id)
Index(None, runs.c.name, runs.c.started_at)
Index(None, runs.c.status, runs.c.started_at)
Index(None, runs.c.environment, runs.c.started_at)
Index(None, runs.c.trace_id)
for _column in (
    runs.c.parent_run_id,
    runs.c.tenant_id,
    runs.c.input_fingerprint,
    runs.c.external_id,
    runs.c.session_id,
    runs.c.run_key,
):
    # Partial: most runs have none of these, and an index entry of NULL helps nobody.
    Index(
        None,
        _column,
        sqlite_where=_column.is_not(None),
        postgresql_where=_column.is_not(None),
    )
# The runs that may have to be declared lost: a few of very many. The status is the same in all of the index; without it
# SQLite takes the index above, and reads every run whose root is exported elsewhere.
_LIVES: Final = text("status = 'running' AND heartbeat_at IS NOT NULL")
Index(None, runs.c.status, runs.c.heartbeat_at, sqlite_where=_LIVES, postgresql_where=_LIVES)
Index(None, model_runs.c.run_id)
Index(None, model_runs.c.model_id, model_runs.c.started_at)
for _table in (model_runs, span_links):
    # The ids of a trace's rows begin with those of the trace, except that trace ids of 64 bits, padded with zeros, all
    # begin alike. Only for these is there an index on the trace; it costs others nothing.
    _padded = text("substr(trace_id, 1, 16) = '0000000000000000'")
    Index(f"ix_{_table.name}_padded_trace_id", _table.c.trace_id, sqlite_where=_padded, postgresql_where=_padded)
