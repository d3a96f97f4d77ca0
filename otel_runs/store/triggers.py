"""What keeps SQLite's tables whole when a shell deletes: ``sqlite3`` leaves foreign keys off, and no cascade happens.

PostgreSQL needs none of this. Like the views, triggers are made anew by every migration.
"""

# ruff: noqa: S608 - the parts of these queries are constants of this package

from __future__ import annotations

from typing import Final

# A trigger does not fire itself again (recursive_triggers is off by default), so it finds all depths at once.
_RUNS_BELOW: Final = """(
    WITH RECURSIVE below(id) AS (
      SELECT OLD.id UNION SELECT r.id FROM runs r JOIN below ON r.parent_run_id = below.id
    )
    SELECT id FROM below
  )"""

SQLITE_TRIGGERS: Final[dict[str, str]] = {
    "runs_deleted": f"""
AFTER DELETE ON runs
BEGIN
  DELETE FROM model_runs WHERE run_id IN {_RUNS_BELOW};
  DELETE FROM span_links WHERE run_id IN {_RUNS_BELOW};
  DELETE FROM runs WHERE id IN {_RUNS_BELOW};
END
""",
    "models_deleted": """
AFTER DELETE ON models
BEGIN
  DELETE FROM dependencies WHERE model_id = OLD.id OR parent_id = OLD.id;
  DELETE FROM column_lineage WHERE model_id = OLD.id OR source_model_id = OLD.id;
END
""",
}
"""The triggers' names and bodies."""
