"""Where writers meet, the whole transaction is run again, and the batch is stored once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from sqlalchemy import Connection, event, text

from otel_runs import attributes as key
from otel_runs.errors import StoreError, StoreUnavailableError
from otel_runs.ids import run_id_from_key
from otel_runs.ingest import TRIES, Ingest
from otel_runs.ingest.batch import Batch
from otel_runs.ingest.race import RaceError
from otel_runs.ingest.settled import Settled
from otel_runs.ingest.settlement import Settlement
from otel_runs.mapping.facts import facts_from_span
from otel_runs.spans.span import Resource, Span
from otel_runs.store.dialects import Sqlite
from otel_runs.store.engine import Database, open_database
from otel_runs.store.writer import Writer
from tests.ingest.contents import contents_of, empty
from tests.ingest.stored import save, stored_run, stored_runs, stored_step, stored_steps
from tests.ingest.traces import row_id, run_id, span

APART = Resource({key.SERVICE_NAME: "shop", key.RUN_KEY: "nightly"})


class Saving:
    """A thread that stores a batch."""

    def __init__(self, database: Database, spans: Sequence[Span]) -> None:
        self.error: BaseException | None = None
        self._database = database
        self._spans = spans
        self._thread = threading.Thread(target=self._save)
        self._thread.start()

    def _save(self) -> None:
        try:
            Ingest(self._database).save(self._spans)
        except BaseException as exc:  # noqa: BLE001  told to the test
            self.error = exc

    def finish(self) -> None:
        """Wait for the end, and raise what it raised."""
        self._thread.join(30)
        assert not self._thread.is_alive()
        if self.error is not None:
            raise self.error


@pytest.fixture
def postgres(new_postgres_url: Callable[[], str]) -> Iterator[tuple[Database, Database]]:
    """One database, open twice."""
    url = new_postgres_url()
    with open_database(url) as one, open_database(url) as other:
        yield one, other


def wait_until_blocked(connection: Connection) -> int:
    """Wait until somebody waits for this transaction; the process id of the waiting server process."""
    blocked = text(
        "SELECT pid FROM pg_catalog.pg_stat_activity WHERE pg_catalog.pg_backend_pid() = ANY(pg_blocking_pids(pid))"
    )
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        found = connection.execute(blocked).scalar()
        if found is not None:
            return int(found)
        time.sleep(0.01)
    pytest.fail("nobody waits for the transaction")


@contextmanager
def holding(database: Database, run: str) -> Iterator[Connection]:
    """A transaction that holds the row of a run."""
    with database.write() as connection:
        connection.execute(text("SELECT 1 FROM runs WHERE id = :id FOR UPDATE"), {"id": run})
        yield connection


def settle(connection: Connection, spans: Sequence[Span]) -> None:
    writer = Writer(connection)
    Settlement(Batch.of([facts_from_span(each) for each in spans])).settle(writer).write(writer)


def test_writers_of_one_trace_wait_for_each_other_at_its_root_run(postgres: tuple[Database, Database]) -> None:
    one, other = postgres
    save(one, [span(0)])
    with holding(other, run_id()) as connection:
        saving = Saving(one, [span(1, 0)])
        wait_until_blocked(connection)
        assert stored_steps(other) == {}
    saving.finish()
    assert stored_run(one, run_id())["steps"] == 1


def test_runs_that_tell_nothing_new_of_their_environment_do_not_wait_for_each_other(
    postgres: tuple[Database, Database],
) -> None:
    one, other = postgres
    built = Resource({key.VCS_REVISION: "c" * 40})
    save(one, [span(0, open_=True, start=1, resource=built)])
    with other.write() as connection:
        connection.execute(text("SELECT 1 FROM environments FOR UPDATE"))
        Ingest(one, lock_seconds=1).save([span(0, start=1, resource=built), span(0, trace=1, start=2)], tries=1)
    assert {run["status"] for run in stored_runs(one).values()} == {"completed"}


def test_batch_that_lost_a_deadlock_is_stored_once(postgres: tuple[Database, Database]) -> None:
    one, other = postgres
    save(one, [span(0), span(0, trace=1)])
    with holding(other, run_id(1)) as connection:
        # The longer patience wins: the server breaks the circle where it is noticed first.
        connection.execute(text("SET LOCAL deadlock_timeout = '30s'"))
        saving = Saving(one, [span(1, 0), span(1, 0, trace=1)])
        wait_until_blocked(connection)
        connection.execute(text("SELECT 1 FROM runs WHERE id = :id FOR UPDATE"), {"id": run_id()})
    saving.finish()
    assert set(stored_steps(one)) == {row_id(1), row_id(1, 1)}
    assert [stored_run(one, run_id(trace))["steps"] for trace in (0, 1)] == [1, 1]


def test_batch_whose_connection_was_lost_is_stored_once(postgres: tuple[Database, Database]) -> None:
    one, other = postgres
    save(one, [span(0)])
    with holding(other, run_id()) as connection:
        saving = Saving(one, [span(1, 0)])
        lost = wait_until_blocked(connection)
        connection.execute(text("SELECT pg_catalog.pg_terminate_backend(:pid)"), {"pid": lost})
    saving.finish()
    assert stored_run(one, run_id())["steps"] == 1


def test_trace_that_another_writer_begins_at_the_same_moment_is_merged(postgres: tuple[Database, Database]) -> None:
    one, other = postgres
    with other.write() as connection:
        settle(connection, [span(0), span(1, 0)])
        saving = Saving(one, [span(0), span(1, 0), span(2, 0)])
        wait_until_blocked(connection)
    saving.finish()
    assert stored_run(one, run_id())["steps"] == 2


def test_children_that_meet_the_insert_of_their_root_are_merged(postgres: tuple[Database, Database]) -> None:
    one, other = postgres
    with other.write() as connection:
        settle(connection, [span(0, name="nightly")])
        saving = Saving(one, [span(1, 0)])
        wait_until_blocked(connection)
    saving.finish()
    run = stored_run(one, run_id())
    assert (run["name"], run["status"], run["steps"]) == ("nightly", "completed", 1)


def test_batch_is_stored_though_the_writer_it_waited_for_gave_up(postgres: tuple[Database, Database]) -> None:
    one, other = postgres
    savings: list[Saving] = []
    with suppress(ZeroDivisionError), other.write() as connection:
        settle(connection, [span(0), span(1, 0)])
        savings.append(Saving(one, [span(0), span(2, 0)]))
        wait_until_blocked(connection)
        raise ZeroDivisionError
    for saving in savings:
        saving.finish()
    assert set(stored_steps(one)) == {row_id(2)}


def test_writers_that_name_the_same_new_model_do_not_fail(postgres: tuple[Database, Database]) -> None:
    one, other = postgres
    declared = {key.MODEL_PATH: "marts.revenue", key.MODEL_DEPENDS_ON: ("raw.orders",)}
    with other.write() as connection:
        settle(connection, [span(0), span(1, 0, attributes=declared)])
        saving = Saving(one, [span(0, trace=1), span(1, 0, trace=1, attributes=declared)])
        wait_until_blocked(connection)
    saving.finish()
    assert len(stored_steps(one)) == 2
    assert len(contents_of(one)["models"]) == 2
    assert len(contents_of(one)["dependencies"]) == 1


def test_many_processes_of_one_keyed_run_leave_what_one_writer_leaves(
    database: Database, database_url_for_test: str
) -> None:
    batches = [[span(0, trace=trace, resource=APART), span(1, 0, trace=trace, resource=APART)] for trace in range(6)]
    with open_database(database_url_for_test) as other:
        for saving in [Saving((database, other)[number % 2], batch) for number, batch in enumerate(batches)]:
            saving.finish()
    together = contents_of(database)
    empty(database)
    save(database, *batches)
    assert contents_of(database) == together
    assert stored_run(database, run_id_from_key("nightly"))["steps"] == 12


def test_trace_that_looks_new_and_is_not_is_told_apart_behind_the_lock(database: Database) -> None:
    """Rows of a keyed run from another process stand alone: nothing is stored of their trace's root run."""
    save(database, [span(2, 1, resource=APART)])
    with pytest.raises(RaceError) as raised, database.write() as connection:
        settle(connection, [span(0), span(1, 0, kind="CLIENT")])
    assert raised.value.traces == {span(0).trace_id}


def test_trace_that_looks_new_and_is_not_is_stored_as_if_it_had_come_first(database: Database) -> None:
    apart, whole = [span(2, 1, resource=APART)], [span(0), span(1, 0, kind="CLIENT"), span(3, 1)]
    save(database, whole, apart)
    expected = contents_of(database)
    empty(database)
    save(database, apart, whole)
    assert contents_of(database) == expected
    row = stored_step(database, row_id(2))
    assert (row["run_id"], row["parent_id"]) == (run_id_from_key("nightly"), run_id())


def test_new_run_that_rows_of_other_traces_in_the_batch_are_in_is_stored_as_if_it_had_come_alone(
    database: Database,
) -> None:
    whole = [span(0), span(1, 0, attributes={key.ROWS_OUT: 3})]
    guests = [span(2, 1, trace=1, attributes={key.PARENT_RUN: run_id(), key.ROWS_OUT: 4})]
    save(database, whole, guests)
    expected = contents_of(database)
    for batches in ([whole + guests], [guests, whole], [whole + guests, whole + guests]):
        empty(database)
        save(database, *batches)
        assert contents_of(database) == expected
    run = stored_run(database, run_id())
    assert (run["steps"], run["rows_out"]) == (2, 7)


def test_batch_of_new_and_known_traces_is_stored_as_if_each_had_come_alone(database: Database) -> None:
    new, known, split = ([span(0, trace=trace), span(1, 0, trace=trace)] for trace in range(3))
    save(database, new, known, split)
    expected = contents_of(database)
    empty(database)
    save(database, known, split[:1], new + known + split)
    assert contents_of(database) == expected


def test_new_traces_are_settled_before_the_transaction_beside_one_that_has_begun_before(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    settled: list[set[str]] = []
    settle_now = Settlement.settle

    def noted(self: Settlement, writer: Writer) -> Settled:
        settled.append({trace.trace_id for trace in self._traces})
        return settle_now(self, writer)

    save(database, [span(1, 0)])
    monkeypatch.setattr(Settlement, "settle", noted)
    save(database, [span(0), span(0, trace=1), span(1, 0, trace=1)])
    begun, new = span(0).trace_id, span(0, trace=1).trace_id
    # Each once; PostgreSQL has no use for it.
    assert settled == ([{new}, {begun}] if isinstance(database.dialect, Sqlite) else [{begun, new}])


def test_batch_that_cannot_be_stored_leaves_nothing_behind(database: Database) -> None:
    with database.write() as connection:
        connection.execute(text("DROP TABLE dependencies"))
    declared = span(1, 0, attributes={key.MODEL_DEPENDS_ON: ("raw.orders",)})
    with pytest.raises(StoreError) as raised:
        save(database, [span(0), declared])
    assert not isinstance(raised.value, StoreUnavailableError)
    assert stored_runs(database) == stored_steps(database) == {}
    save(database, [span(0), span(2, 0)])
    assert stored_run(database, run_id())["steps"] == 1


@contextmanager
def locked_file(url: str) -> Iterator[None]:
    with open_database(url) as other, other.write():
        yield


def test_batch_waits_for_an_sqlite_file_that_is_locked_longer_than_its_timeout(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'runs.db'}"
    with open_database(f"{url}?timeout=0.05") as database:
        with locked_file(url):
            saving = Saving(database, [span(0)])
            time.sleep(0.15)
        saving.finish()
        assert stored_run(database, run_id())["status"] == "completed"


def test_sqlite_file_that_stays_locked_is_unavailable_for_now(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'runs.db'}"
    with open_database(f"{url}?timeout=0.01") as database, locked_file(url), pytest.raises(StoreUnavailableError):
        save(database, [span(0)])


@pytest.mark.parametrize(("patience", "tries"), [(0.0, 1), (Sqlite.patience, TRIES)])
def test_sqlite_file_that_was_waited_for_long_enough_is_not_waited_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, patience: float, tries: int
) -> None:
    monkeypatch.setattr(Sqlite, "patience", patience)
    url = f"sqlite:///{tmp_path / 'runs.db'}"
    waited: list[object] = []
    with open_database(f"{url}?timeout=0.001") as database:
        event.listen(database.engine, "handle_error", waited.append)
        with locked_file(url), pytest.raises(StoreUnavailableError):
            save(database, [span(0)])
    assert len(waited) == tries
