"""The disk under the database is full, and has room again."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url

from tests.faults.history import names
from tests.faults.small_disk import SmallDisk, small_disk
from tests.faults.steered import Steered
from tests.programs import Programs
from tests.servers.missing import needed
from tests.servers.postgres import PostgresServer


@pytest.fixture
def disk() -> Iterator[SmallDisk]:
    """Not below pytest's folder, which is closed to the user that PostgreSQL runs as."""
    with tempfile.TemporaryDirectory(prefix="disk-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        with small_disk(Path(folder) / "small", "8m") as disk:
            yield disk


@pytest.fixture(params=["sqlite", "postgres"])
def url_on_disk(request: pytest.FixtureRequest, disk: SmallDisk) -> Iterator[str]:
    """A database whose tables are on the small disk."""
    if request.param == "sqlite":
        yield f"sqlite:///{disk.folder / 'runs.db'}"
        return
    with needed():
        server = PostgresServer(18)
    try:
        yield _on_tablespace(server, disk.folder)
    finally:
        server.stop()


def _on_tablespace(server: PostgresServer, disk: Path) -> str:
    folder = disk / "tables"
    folder.mkdir()
    server.give(folder)
    url = make_url(server.url)
    with psycopg.connect(url.set(drivername="postgresql").render_as_string(), autocommit=True) as connection:
        connection.execute(f"CREATE TABLESPACE small LOCATION '{folder}'".encode())
    return url.update_query_dict({"options": "-cdefault_tablespace=small"}).render_as_string()


def test_pipeline_goes_on_while_the_disk_is_full_and_has_every_step_when_there_is_room(
    programs: Programs, disk: SmallDisk, url_on_disk: str
) -> None:
    with Steered(programs, url_on_disk) as pipeline:
        pipeline.work()
        pipeline.flush()
        disk.fill()
        for _ in range(40):  # what a file has been given before may hold the first of them
            pipeline.work()
        pipeline.await_failure()
        pipeline.work()
        disk.empty()
        last = pipeline.end()
    pipeline.replay()

    assert "full" in last or "No space left" in last, last
    assert names(url_on_disk) == pipeline.names


def test_spans_of_a_full_disk_wait_in_a_spool_on_another_one_until_there_is_room(
    programs: Programs, disk: SmallDisk, url_on_disk: str
) -> None:
    # The end of the process waits so long for the database, and not until its last attempt.
    environ = {"OTEL_RUNS_SPOOL": str(programs.folder / "spool"), "OTEL_RUNS_FLUSH_TIMEOUT": "3"}
    with Steered(programs, url_on_disk, environ) as pipeline:
        pipeline.work()
        pipeline.flush()
        disk.fill()
        for _ in range(40):
            pipeline.work()
        pipeline.await_failure()
        last = pipeline.end()
        print(last)
    assert "spans_failed=0, spans_dropped=0" in last
    assert sum(names(url_on_disk).values()) < len(pipeline.names)

    disk.empty()
    pipeline.replay()
    assert names(url_on_disk) == pipeline.names
