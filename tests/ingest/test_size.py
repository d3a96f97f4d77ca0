"""What a run takes on the disk."""

from __future__ import annotations

from pathlib import Path

from otel_runs import attributes as key
from otel_runs.store.engine import Database, open_database
from tests.ingest.stored import save
from tests.ingest.traces import span

RUNS = 1000
REPORTED = {key.ROWS_IN: 1000, key.ROWS_OUT: 857, key.INPUT_FINGERPRINT: "sha256:" + "a" * 64}


def test_run_of_two_steps_takes_one_to_two_kilobytes(tmp_path: Path) -> None:
    with open_database(f"sqlite:///{tmp_path}/runs.db") as database:
        empty = _bytes_of(database)
        save(
            database,
            [
                each
                for trace in range(RUNS)
                for each in (
                    span(0, trace=trace, name="nightly", attributes=REPORTED),
                    *(span(number, 0, trace=trace, attributes={key.ROWS_OUT: 857}) for number in (1, 2)),
                )
            ],
        )
        assert 1000 < (_bytes_of(database) - empty) / RUNS < 2048


def _bytes_of(database: Database) -> int:
    with database.read() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        return int(pages * connection.exec_driver_sql("PRAGMA page_size").scalar_one())
