"""The first tables.

Revision ID: 0001
Revises: none
"""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB, TEXT

revision: Final = "0001"
down_revision: Final = None

# Ids are of collation C on PostgreSQL: a trace's rows are then one range of the key, and comparing is memcmp.
_Id: Final = sa.Text().with_variant(TEXT(collation="C"), "postgresql")
_Time: Final = sa.DateTime(timezone=True)
_Json: Final = sa.JSON().with_variant(JSONB(), "postgresql")
_Number: Final = sa.BigInteger()


def upgrade() -> None:
    """Create all tables and their indexes."""
    _create_runs()
    _create_models()
    _create_model_runs()
    _create_environments()
    _create_column_lineage()
    _create_span_links()


def _create_runs() -> None:
    op.create_table(
        "runs",
        sa.Column("id", _Id, nullable=False),
        sa.Column("trace_id", sa.Text, nullable=False),
        sa.Column("root_span_id", sa.Text),
        sa.Column("parent_run_id", _Id),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("environment", sa.Text, nullable=False),
        sa.Column("tenant_id", sa.Text),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("stop_reason", sa.Text),
        sa.Column("status_source", sa.Text),
        sa.Column("error", sa.Text),
        sa.Column("error_type", sa.Text),
        sa.Column("started_at", _Time, nullable=False),
        sa.Column("completed_at", _Time),
        sa.Column("duration_ns", _Number),
        sa.Column("duration_seconds", sa.Float),
        sa.Column("heartbeat_at", _Time),
        sa.Column("rows_in", _Number),
        sa.Column("rows_out", _Number),
        sa.Column("llm_calls", _Number),
        sa.Column("input_tokens", _Number),
        sa.Column("output_tokens", _Number),
        sa.Column("tokens", _Number),
        sa.Column("cost_usd", sa.Float),
        sa.Column("ttft_ns", _Number),
        sa.Column("steps", _Number),
        sa.Column("steps_expected", _Number),
        sa.Column("retry_count", _Number),
        sa.Column("input_fingerprint", sa.Text),
        sa.Column("code_ref", sa.Text),
        sa.Column("config_hash", sa.Text),
        sa.Column("service_name", sa.Text),
        sa.Column("external_id", sa.Text),
        sa.Column("session_id", sa.Text),
        sa.Column("background", sa.Boolean),
        sa.Column("metadata", _Json),
        sa.Column("deleted_at", _Time),
        sa.Column("run_key", sa.Text),
        sa.Column("derived", sa.Text, server_default="", nullable=False),
        sa.Column("loose", sa.Boolean, server_default=sa.text("false"), nullable=False),
        sa.Column("process", sa.Text),
        sa.Column("lost_at", _Time),
        sa.Column("marked", sa.Boolean()),
        sa.PrimaryKeyConstraint("id", name="pk_runs"),
        sa.ForeignKeyConstraint(["parent_run_id"], ["runs.id"], name="fk_runs_parent_run_id_runs", ondelete="CASCADE"),
    )
    op.create_index("ix_runs_started_at_id", "runs", ["started_at", "id"])
    op.create_index("ix_runs_name_started_at", "runs", ["name", "started_at"])
    op.create_index("ix_runs_status_started_at", "runs", ["status", "started_at"])
    op.create_index("ix_runs_environment_started_at", "runs", ["environment", "started_at"])
    op.create_index("ix_runs_trace_id", "runs", ["trace_id"])
    for column in ("parent_run_id", "tenant_id", "input_fingerprint", "external_id", "session_id", "run_key"):
        where: Any = sa.column(column).is_not(None)
        op.create_index(f"ix_runs_{column}", "runs", [column], sqlite_where=where, postgresql_where=where)
    lives = sa.text("status = 'running' AND heartbeat_at IS NOT NULL")
    columns = ["status", "heartbeat_at"]
    op.create_index("ix_runs_status_heartbeat_at", "runs", columns, sqlite_where=lives, postgresql_where=lives)


def _create_models() -> None:
    op.create_table(
        "models",
        sa.Column("id", _Id, nullable=False),
        sa.Column("path", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("materialized", sa.Text),
        sa.Column("content_hash", sa.Text),
        sa.Column("owner", sa.Text),
        sa.Column("schema_name", sa.Text),
        sa.Column("tags", _Json),
        sa.Column("created_at", _Time, nullable=False),
        sa.Column("updated_at", _Time, nullable=False),
        sa.Column("declared_by", sa.Text, server_default="", nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_models"),
        sa.UniqueConstraint("path", name="uq_models_path"),
    )
    op.create_table(
        "dependencies",
        sa.Column("model_id", _Id, nullable=False),
        sa.Column("parent_id", _Id, nullable=False),
        sa.PrimaryKeyConstraint("model_id", "parent_id", name="pk_dependencies"),
        sa.ForeignKeyConstraint(
            ["model_id"], ["models.id"], name="fk_dependencies_model_id_models", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["parent_id"], ["models.id"], name="fk_dependencies_parent_id_models", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_dependencies_parent_id", "dependencies", ["parent_id"])


def _create_model_runs() -> None:
    op.create_table(
        "model_runs",
        sa.Column("id", _Id, nullable=False),
        sa.Column("run_id", _Id, nullable=False),
        sa.Column("model_id", _Id, nullable=False),
        sa.Column("parent_id", _Id),
        sa.Column("trace_id", sa.Text, nullable=False),
        sa.Column("span_id", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("stop_reason", sa.Text),
        sa.Column("error", sa.Text),
        sa.Column("error_type", sa.Text),
        sa.Column("started_at", _Time, nullable=False),
        sa.Column("completed_at", _Time),
        sa.Column("execution_ms", _Number),
        sa.Column("duration_ns", _Number),
        sa.Column("rows_affected", _Number),
        sa.Column("rows_in", _Number),
        sa.Column("rows_out", _Number),
        sa.Column("llm_provider", sa.Text),
        sa.Column("llm_model", sa.Text),
        sa.Column("input_tokens", _Number),
        sa.Column("output_tokens", _Number),
        sa.Column("tokens", _Number),
        sa.Column("cost_usd", sa.Float),
        sa.Column("metadata", _Json),
        sa.PrimaryKeyConstraint("id", name="pk_model_runs"),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_model_runs_run_id_runs", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name="fk_model_runs_model_id_models"),
    )
    op.create_index("ix_model_runs_run_id", "model_runs", ["run_id"])
    op.create_index("ix_model_runs_model_id_started_at", "model_runs", ["model_id", "started_at"])
    _create_padded_index("model_runs")


def _create_environments() -> None:
    op.create_table(
        "environments",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("commit_ref", sa.Text),
        sa.Column("created_at", _Time, nullable=False),
        sa.Column("updated_at", _Time, nullable=False),
        sa.Column("declared_by", sa.Text, server_default="", nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_environments"),
    )


def _create_column_lineage() -> None:
    op.create_table(
        "column_lineage",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), nullable=False),
        sa.Column("model_id", _Id, nullable=False),
        sa.Column("column_name", sa.Text, nullable=False),
        sa.Column("source_model_id", _Id),
        sa.Column("source_table", sa.Text),
        sa.Column("source_column", sa.Text),
        sa.Column("transform", sa.Text),
        sa.PrimaryKeyConstraint("id", name="pk_column_lineage"),
        sa.ForeignKeyConstraint(
            ["model_id"], ["models.id"], name="fk_column_lineage_model_id_models", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["source_model_id"], ["models.id"], name="fk_column_lineage_source_model_id_models", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_column_lineage_model_id_column_name", "column_lineage", ["model_id", "column_name"])


def _create_span_links() -> None:
    op.create_table(
        "span_links",
        sa.Column("id", _Id, nullable=False),
        sa.Column("parent_id", _Id),
        sa.Column("run_id", _Id, nullable=False),
        sa.Column("trace_id", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_span_links"),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_span_links_run_id_runs", ondelete="CASCADE"),
    )
    op.create_index("ix_span_links_run_id", "span_links", ["run_id"])
    _create_padded_index("span_links")


def _create_padded_index(table: str) -> None:
    where = sa.text("substr(trace_id, 1, 16) = '0000000000000000'")
    name = f"ix_{table}_padded_trace_id"
    op.create_index(name, table, ["trace_id"], sqlite_where=where, postgresql_where=where)
