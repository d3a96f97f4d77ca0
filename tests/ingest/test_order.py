"""Promise P1: the same spans leave the same rows, however they arrive."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from otel_runs.ingest import Ingest
from otel_runs.spans.span import Span
from otel_runs.store.engine import Database, open_database
from tests.ingest.contents import Contents, contents_of, empty
from tests.ingest.traces import delivered, traces

FEW = settings(
    max_examples=60,
    phases=[Phase.explicit, Phase.generate],
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)


@pytest.fixture
def second_database(database: Database, database_url_for_test: str) -> Iterator[Database]:
    """The same database as ``database``, opened by another writer."""
    with open_database(database_url_for_test) as opened:
        yield opened


def rows_after(database: Database, batches: list[list[Span]]) -> Contents:
    empty(database)
    ingest = Ingest(database)
    for batch in batches:
        ingest.save(batch)
    return contents_of(database)


@FEW
@given(data=st.data())
def test_any_order_batching_and_repetition_leaves_the_same_rows(database: Database, data: st.DataObject) -> None:
    spans = data.draw(traces())
    batches = data.draw(delivered(spans))
    assert rows_after(database, batches) == rows_after(database, [spans])


@FEW
@given(data=st.data())
def test_two_writers_at_once_leave_the_same_rows_as_one(
    database: Database, second_database: Database, data: st.DataObject
) -> None:
    spans = data.draw(traces())
    expected = rows_after(database, [spans])
    empty(database)
    failures: list[BaseException] = []

    def write(mine: Database, batches: list[list[Span]]) -> None:
        try:
            ingest = Ingest(mine)
            barrier.wait(10)
            for batch in batches:
                ingest.save(batch)
        except BaseException as exc:  # noqa: BLE001  told to the test
            failures.append(exc)

    barrier = threading.Barrier(2)
    writers = [
        threading.Thread(target=write, args=(mine, data.draw(delivered(spans)))) for mine in (database, second_database)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert failures == []
    assert contents_of(database) == expected
