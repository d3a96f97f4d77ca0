"""How the server opens the run database: what it has committed survives the loss of power.

On PostgreSQL it leaves the server's settings alone; test_kill.py crashes one that has the default ones.
"""

from __future__ import annotations

from otel_runs.server.run_store import RunStore


def test_commit_to_sqlite_waits_for_the_disk(sqlite_url: str) -> None:
    store = RunStore(sqlite_url)
    assert store.open()
    with store._open()[0].write() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2, "FULL"
    store.close()
