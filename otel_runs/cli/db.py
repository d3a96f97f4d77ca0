"""``otel-runs db``: where the run database is, whether it is sound, and bringing it up to date."""

from __future__ import annotations

import typer

from otel_runs.cli import exits
from otel_runs.cli.output import complain, stdout
from otel_runs.store.engine import open_database, schema_state
from otel_runs.store.engine import upgrade as upgrade_database
from otel_runs.store.location import database_url, shown


def run_upgrade(url: str | None) -> None:
    """Create the database or bring it up to date.

    Raises:
        StoreError: it could not be done; the database is as it was.
    """
    before = upgrade_database(url)
    where = shown(database_url(url))
    if before.current is None:
        done = f"Created {where} (revision {before.head})."
    elif before.pending:
        done = f"Upgraded {where} from revision {before.current} to {before.head}."
    else:
        done = f"{where} is up to date (revision {before.head})."
    _say(done)


def run_check(url: str | None) -> None:
    """Check that the database can be read, is up to date and has all its parts.

    Raises:
        NotFoundError: there is none yet.
        StoreError: it cannot be read, or is of a version this package cannot use.
        typer.Exit: with exit code 1 where it is old or damaged.
    """
    where = shown(database_url(url))
    state = schema_state(url)
    if state.pending:
        complain(f"{where} is at revision {state.current}, this version needs {state.head}; run: otel-runs db upgrade")
        raise typer.Exit(exits.ERROR)
    with open_database(url, create=False) as database:
        missing = database.missing_parts()
    if missing:
        complain(
            f"{where} is at revision {state.head} but lacks {', '.join(missing)}; somebody removed them. "
            "Restore a backup, or move the database away and let a new one be made"
        )
        raise typer.Exit(exits.ERROR)
    _say(f"{where} is up to date (revision {state.head}).")


def run_path(url: str | None) -> None:
    """Print where the database is.

    Raises:
        SettingsError: the URL cannot be used.
    """
    _say(shown(database_url(url)))


def _say(text: str) -> None:
    stdout().print(text, soft_wrap=True)
