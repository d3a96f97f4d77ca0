"""The views, a public interface like the tables (docs/sql.md): columns are added at the end, never renamed or removed.

They hold no data, so every migration makes them anew from here; what is changed here needs a new revision (which may be
empty) to reach databases that exist. One text for all databases.
"""

# ruff: noqa: S608 - the parts of these queries are constants of this package

from __future__ import annotations

from typing import Final

from otel_runs.store import tables

_HIDDEN_RUN_COLUMNS: Final = frozenset({"derived", "loose", "process", "lost_at", "marked", "deleted_at"})
_SUMMED: Final = ("rows_in", "rows_out", "input_tokens", "output_tokens", "tokens", "cost_usd")
_COUNTED: Final = {"steps": "COUNT(*)", "llm_calls": "NULLIF(COUNT(CASE WHEN m.kind = 'llm' THEN 1 END), 0)"}

_LIVE: Final = "r.status IN ('created', 'running')"


def _so_far(column: str) -> str:
    """A column of ``runs``; while the run has not ended and the column is not known, from its model runs so far.

    CASE, so that a run that has ended pays nothing.
    """
    if column in _COUNTED:
        total = f"SELECT {_COUNTED[column]} FROM model_runs m WHERE m.run_id = r.id"
    else:
        # What is above a reporting row does not count (mapping/totals.py); UNION ends in a circle of parents, too. Each
        # reporting row is there once for itself and once if it is covered: a join, NOT EXISTS or NOT IN says the same,
        # but then a database may read the whole run again for each of its rows, and 10,000 rows take minutes.
        reports = f"FROM model_runs m WHERE m.run_id = r.id AND m.{column} IS NOT NULL"
        total = (
            f"WITH RECURSIVE covered (id) AS (SELECT m.parent_id {reports} UNION "
            "SELECT m.parent_id FROM covered JOIN model_runs m ON m.id = covered.id WHERE m.run_id = r.id) "
            f"SELECT {_sum(column)} FROM (SELECT MAX(m.{column}) AS {column} FROM ("
            f"SELECT m.id, m.{column}, 0 AS is_covered {reports} UNION ALL SELECT id, NULL, 1 FROM covered"
            ") m GROUP BY m.id HAVING MAX(m.is_covered) = 0) m"
        )
    return f"CASE WHEN r.{column} IS NULL AND {_LIVE} THEN ({total}) ELSE r.{column} END"


def _sum(column: str) -> str:
    if column == "cost_usd":
        return "CAST(SUM(m.cost_usd) AS DOUBLE PRECISION)"
    return _capped_sum(f"m.{column}")


def _capped_sum(column: str) -> str:
    """The exact sum of integers from 0 on, or the largest integer that a column holds where it is more.

    SQLite's SUM raises beyond 64 bits, for all rows of the view, and its TOTAL is a float. So the upper and the lower
    half of the bits are summed by themselves; on PostgreSQL, whose SUM of them is numeric, as well.
    """
    upper, lower = f"SUM({column} >> 32)", f"SUM({column} & {2**32 - 1})"
    return (
        f"CASE WHEN {upper} + (CAST({lower} AS BIGINT) >> 32) >= {2**31} THEN {2**63 - 1} "
        f"ELSE CAST({upper} * {2**32} + {lower} AS BIGINT) END"
    )


def _run_column(column: str) -> str:
    return f"{_so_far(column)} AS {column}" if column in (*_SUMMED, *_COUNTED) else f"r.{column}"


_RUN_COLUMNS: Final = tuple(column.name for column in tables.runs.c if column.name not in _HIDDEN_RUN_COLUMNS)

V_RUNS: Final = f"""
SELECT {", ".join(_run_column(column) for column in _RUN_COLUMNS)},
  CASE
    WHEN {_LIVE} OR r.steps_expected IS NULL OR r.steps IS NULL THEN 'unknown'
    WHEN r.steps >= r.steps_expected THEN 'complete'
    ELSE 'partial'
  END AS completeness,
  CASE
    WHEN {_LIVE} OR r.steps_expected IS NULL OR r.steps IS NULL THEN NULL
    WHEN r.steps >= r.steps_expected THEN 0
    ELSE r.steps_expected - r.steps
  END AS steps_missing
FROM runs r
WHERE r.deleted_at IS NULL
"""

V_MODEL_RUNS: Final = f"""
SELECT {", ".join(f"mr.{column.name}" for column in tables.model_runs.c)},
  m.path AS model_path, m.name AS model_name, m.materialized,
  r.name AS run_name, r.environment, r.status AS run_status
FROM model_runs mr
JOIN models m ON m.id = mr.model_id
JOIN runs r ON r.id = mr.run_id
WHERE r.deleted_at IS NULL
"""

# Deleted runs are few: excluded by a list that is made once, not by a join of every model run.
_KEPT: Final = "mr.run_id NOT IN (SELECT id FROM runs WHERE deleted_at IS NOT NULL)"

V_MODEL_STATS: Final = f"""
SELECT m.id AS model_id, m.path, m.name, m.kind,
  COUNT(mr.id) AS runs,
  COUNT(CASE WHEN mr.status = 'success' THEN 1 END) AS successful,
  COUNT(CASE WHEN mr.status = 'failed' THEN 1 END) AS failed,
  COUNT(CASE WHEN mr.status = 'skipped' THEN 1 END) AS skipped,
  CAST(ROUND(
    100.0 * COUNT(CASE WHEN mr.status = 'success' THEN 1 END)
    / NULLIF(COUNT(CASE WHEN mr.status IN ('success', 'failed', 'cancelled') THEN 1 END), 0), 1
  ) AS DOUBLE PRECISION) AS success_rate,
  CAST(AVG(CASE WHEN mr.status = 'success' THEN mr.execution_ms END) AS DOUBLE PRECISION) AS avg_ms,
  MIN(CASE WHEN mr.status = 'success' THEN mr.execution_ms END) AS min_ms,
  MAX(CASE WHEN mr.status = 'success' THEN mr.execution_ms END) AS max_ms,
  {_capped_sum("mr.rows_affected")} AS rows_affected,
  MAX(mr.started_at) AS last_started_at,
  (SELECT mr.status FROM model_runs mr WHERE mr.model_id = m.id AND {_KEPT}
   ORDER BY mr.started_at DESC, mr.id DESC LIMIT 1) AS last_status
FROM models m
LEFT JOIN model_runs mr ON mr.model_id = m.id AND {_KEPT}
GROUP BY m.id
"""

VIEWS: Final[dict[str, str]] = {"v_runs": V_RUNS, "v_model_runs": V_MODEL_RUNS, "v_model_stats": V_MODEL_STATS}
"""The views' names and queries."""
