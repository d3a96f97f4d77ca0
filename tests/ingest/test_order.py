"""Promise P1: the same spans leave the same rows, however they arrive."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from otel_runs.ingest import Ingest, Loss
from otel_runs.spans.span import Span
from otel_runs.store import tables
from otel_runs.store.engine import Database, open_database
from tests.at_once import at_once
from tests.databases import one_of_each_kind
from tests.ingest.contents import Contents, contents_of, empty
from tests.ingest.traces import delivered, losses, traces

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


def rows_after(database: Database, batches: list[list[Span]], losses: Sequence[Loss] = ()) -> Contents:
    empty(database)
    deliver(database, batches, losses)
    return contents_of(database)


def deliver(database: Database, batches: list[list[Span]], losses: Sequence[Loss]) -> None:
    """Save the batches; each loss is declared as soon as its run is there, or after one more batch than the last."""
    ingest = Ingest(database)
    waiting = list(losses)
    for batch in batches:
        ingest.save(batch)
        known = known_runs(database)
        due = [loss for loss in waiting[:2] if loss.run_id in known]
        ingest.declare_lost(due)
        waiting = [loss for loss in waiting if loss not in due]
    ingest.declare_lost(waiting)


def known_runs(database: Database) -> set[str]:
    """The runs whose own span is known: of others nobody says that they are lost."""
    with database.read() as connection:
        return set(connection.scalars(select(tables.runs.c.id).where(tables.runs.c.root_span_id.is_not(None))))


@FEW
@given(data=st.data())
def test_any_order_batching_and_repetition_leaves_the_same_rows(database: Database, data: st.DataObject) -> None:
    spans = data.draw(traces())
    batches = data.draw(delivered(spans))
    assert rows_after(database, batches) == rows_after(database, [spans])


@one_of_each_kind
@FEW
@given(data=st.data())
def test_losses_heartbeats_and_ends_in_any_order_leave_the_same_rows(database: Database, data: st.DataObject) -> None:
    spans = data.draw(traces())
    said = data.draw(losses(spans))
    batches = data.draw(delivered(spans))
    late = rows_after(database, [spans], said)
    assert rows_after(database, batches, data.draw(st.permutations(said + said[:1]))) == late


@one_of_each_kind
@FEW
@given(data=st.data())
def test_two_writers_at_once_leave_the_same_rows_as_one(
    database: Database, second_database: Database, data: st.DataObject
) -> None:
    spans = data.draw(traces())
    said = data.draw(losses(spans))
    expected = rows_after(database, [spans], said)
    empty(database)
    at_once(*(partial(deliver, mine, data.draw(delivered(spans)), said) for mine in (database, second_database)))
    Ingest(database).declare_lost(said)  # of a run that the other writer held, both left it alone
    assert contents_of(database) == expected
