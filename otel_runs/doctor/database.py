"""Whether the run database can be reached and is of this version."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otel_runs.doctor.finding import Finding
from otel_runs.errors import NotFoundError, OtelRunsError, SchemaError, SettingsError, StoreUnavailableError
from otel_runs.store.engine import open_database, schema_state
from otel_runs.store.location import database_url, shown

if TYPE_CHECKING:
    from otel_runs.store.engine import Database


def findings(url: str | None) -> tuple[Database | None, list[Finding]]:
    """The open database, to be closed by the caller, and what is wrong with it; None where it cannot be read."""
    try:
        state = schema_state(url)
        if state.pending:
            return None, [_pending(str(state.current), state.head, shown(database_url(url)))]
        opened = open_database(url, create=False)
        return opened, _incomplete(opened)
    except NotFoundError as exc:
        return None, [
            Finding(
                "database",
                "note",
                f"{exc}.",
                "Nothing has been recorded there yet.",
                "If something should have been: see whether the pipeline calls otel_runs.configure(), and whether it "
                "names the same database (otel-runs db path; OTEL_RUNS_DB).",
            )
        ]
    except OtelRunsError as exc:
        return None, [_unreadable(exc)]


def _pending(current: str, head: str, where: str) -> Finding:
    return Finding(
        "migrations",
        "error",
        f"{where} is at revision {current}; this version needs {head}.",
        "It cannot be read until its tables are brought up to date. A pipeline that writes to it does so by itself.",
        "otel-runs db upgrade",
    )


def _incomplete(database: Database) -> list[Finding]:
    missing = database.missing_parts()
    if not missing:
        return []
    return [
        Finding(
            "database",
            "error",
            f"{shown(database.url)} lacks {', '.join(missing)}.",
            "Somebody removed them; what needs them fails.",
            "Restore a backup, or move the database away and let a new one be made.",
        )
    ]


def _unreadable(exc: OtelRunsError) -> Finding:
    means = "No run can be read there, and none is stored."
    if isinstance(exc, StoreUnavailableError):
        means = "No run can be read there now. Pipelines go on and try again; what they cannot store is counted."
    elif isinstance(exc, (SchemaError, SettingsError)):
        means = "Runs are neither stored there nor read."
    return Finding("database", "error", f"{exc}.", means, "Do what the message says, then ask again: otel-runs doctor")
