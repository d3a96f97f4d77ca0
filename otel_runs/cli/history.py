"""The run database as the commands that read open it: never created, never migrated."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otel_runs.errors import NotFoundError
from otel_runs.store.engine import open_database
from otel_runs.store.location import database_url, shown

if TYPE_CHECKING:
    from otel_runs.store.engine import Database


def find_history(url: str | None) -> Database | None:
    """The run database, to be closed by the caller; None if there is none yet.

    Raises:
        SettingsError: the URL cannot be used.
        StoreError: it cannot be read, or is of a version this package cannot use.
    """
    try:
        return open_database(url, create=False)
    except NotFoundError:
        return None


def nothing_yet(url: str | None) -> str:
    """What to tell who asks for runs where there are none."""
    return (
        f"No runs yet in {shown(database_url(url))}. "
        "Record one: put @otel_runs.run on a function and call it after otel_runs.configure(), "
        "or try: otel-runs demo"
    )
