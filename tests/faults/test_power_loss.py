"""What SQLite's ``synchronous=NORMAL`` promises when the machine loses its power: all up to some transaction.

A power failure cannot be had in a test. What it leaves can: the database as of the last checkpoint, and of the
write-ahead log what had reached the disk, cut off anywhere or with bytes behind it that were never written.
"""

from __future__ import annotations

import random
import sqlite3
from pathlib import Path
from typing import Final

import pytest

from tests.faults.history import query
from tests.faults.steered import STEPS, Steered
from tests.programs import Programs

CUTS: Final = 60
TRANSACTIONS: Final = 12


@pytest.fixture(scope="module")
def files_of_a_running_pipeline(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, bytes]:
    """The database and its log, taken while the pipeline that writes them is alive."""
    programs = Programs(tmp_path_factory.mktemp("running"))
    with Steered(programs, f"sqlite:///{programs.database}") as pipeline:
        for _ in range(TRANSACTIONS):
            pipeline.work()
            pipeline.flush()
        return programs.database.read_bytes(), Path(f"{programs.database}-wal").read_bytes()


@pytest.mark.parametrize("rest", [b"", b"\0", b"\xaa"], ids=["cut off", "then zeros", "then garbage"])
def test_power_failure_takes_the_last_transactions_and_damages_nothing(
    files_of_a_running_pipeline: tuple[bytes, bytes], tmp_path: Path, rest: bytes
) -> None:
    database, log = files_of_a_running_pipeline
    path = tmp_path / "after" / "runs.db"
    path.parent.mkdir()
    moments = random.Random(0)
    seen = set[int]()
    for cut in [0, *(moments.randrange(len(log)) for _ in range(CUTS)), len(log)]:
        for suffix in ("-wal", "-shm"):
            Path(f"{path}{suffix}").unlink(missing_ok=True)
        path.write_bytes(database)
        Path(f"{path}-wal").write_bytes(log[:cut] + rest * (len(log) - cut))
        seen.add(steps_in(path))

    assert max(seen) == TRANSACTIONS * STEPS
    assert len(seen) > 1, "some cuts took transactions"


def steps_in(path: Path) -> int:
    """How many steps the database has, after every check that there is."""
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        has_tables = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'model_runs'").fetchone()
    connection.close()
    if not has_tables:
        return 0
    rows = query(f"sqlite:///{path}", "SELECT name FROM model_runs")
    assert {name for (name,) in rows} == {f"step {number}" for number in range(len(rows))}, (
        "none but the last is missing"
    )
    return len(rows)
