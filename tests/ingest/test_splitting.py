"""A span that cannot be stored costs no other span of its batch its row."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from otel_runs import attributes as key
from otel_runs.errors import MappingError, StoreAccessError, StoreError, StoreUnavailableError
from otel_runs.ids import row_id_from_span
from otel_runs.ingest import TRIES, Ingest, Loss
from otel_runs.ingest.race import RaceError
from otel_runs.ingest.splitting import _MOST_FAILURES, RefusedSpan, UnfinishedError, save_splitting
from otel_runs.mapping.facts import Facts
from otel_runs.spans.span import Resource, Span
from otel_runs.store.engine import Database, open_database
from tests.ingest.contents import contents_of, empty
from tests.ingest.stored import save, stored_runs, stored_steps
from tests.ingest.traces import row_id, span, span_id


def namesake(last: int, number: int, parent: int | None = None) -> Span:
    """A span of one of several traces that begin with the same 8 bytes: equal span ids are equal row ids."""
    return span(number, parent)._replace(trace_id=f"{'ab' * 8}{last:016x}")


def unreadable(number: int, parent: int | None = None, *, trace: int = 0) -> Span:
    """A span that breaks the mapping."""
    return span(number, parent, trace=trace)._replace(start_ns="soon")  # type: ignore[arg-type]  # the point of it


class CountedIngest(Ingest):
    """Counts its transactions."""

    calls = 0

    def save(self, spans: list[Span], *, tries: int = TRIES) -> None:  # type: ignore[override]  # always a list here
        self.calls += 1
        super().save(spans, tries=tries)


def refused_in(refused: list[RefusedSpan]) -> list[tuple[int, str]]:
    return sorted((each.position, each.span.span_id) for each in refused)


def test_batch_without_bad_spans_is_one_transaction(database: Database) -> None:
    ingest = CountedIngest(database)
    assert save_splitting(ingest, [span(number, 0 if number else None) for number in range(9)]) == []
    assert ingest.calls == 1
    assert len(stored_steps(database)) == 8


def test_no_spans_are_no_refusals(database: Database) -> None:
    assert save_splitting(Ingest(database), []) == []


def test_spans_of_two_traces_that_claim_one_row_cost_no_other_its_row(database: Database) -> None:
    good = [span(number, 0 if number else None, trace=trace) for trace in range(5) for number in range(4)]
    bad = [namesake(1, 0), namesake(1, 5, 0), namesake(2, 0), namesake(2, 5, 0)]
    batch = [*good[:10], *bad, *good[10:]]
    [refused] = save_splitting(Ingest(database), batch)
    assert refused.span.span_id == span_id(5)
    assert batch[refused.position] is refused.span
    assert {row_id(number, trace) for trace in range(5) for number in range(1, 4)} <= set(stored_steps(database))
    assert row_id_from_span("ab" * 16, span_id(5)) in stored_steps(database)
    assert len(stored_runs(database)) == 7


def test_span_whose_row_another_trace_holds_is_refused_and_named(database: Database) -> None:
    save(database, [namesake(1, 0), namesake(1, 5, 0)])
    [refused] = save_splitting(Ingest(database), [namesake(2, 0), namesake(2, 5, 0), namesake(2, 6, 0)])
    assert refused.position == 1
    assert refused.reason.startswith(f"Span {span_id(5)} of trace {'ab' * 8}{2:016x} cannot be stored: ")
    assert str(database.url.database) not in refused.reason
    assert f"{'ab' * 8}{1:016x}" not in refused.reason, "the trace of somebody else"
    assert " belongs to another trace, which begins like this one" in refused.reason


@pytest.mark.parametrize("positions", [[0], [30], [59], [0, 1, 2], [7, 31, 52], list(range(60))])
def test_spans_that_break_the_mapping_are_refused_and_all_others_stored(
    database: Database, positions: list[int]
) -> None:
    spans = [(unreadable if number in positions else span)(number, 0 if number else None) for number in range(60)]
    refused = save_splitting(Ingest(database), spans)
    assert refused_in(refused) == [(number, span_id(number)) for number in positions]
    assert all("TypeError" in repr(each.error) for each in refused)
    assert set(stored_steps(database)) == {row_id(number) for number in range(1, 60) if number not in positions}


def test_what_is_left_after_a_refusal_is_what_is_stored_without_the_bad_span(database: Database) -> None:
    good = [span(number, 0 if number else None, trace=trace) for trace in range(3) for number in range(6)]
    save_splitting(Ingest(database), [*good, unreadable(9, 0)])
    split = contents_of(database)
    empty(database)
    save(database, good)
    assert contents_of(database) == split


def test_work_is_bounded_where_every_second_span_is_bad(tmp_path_url: str) -> None:
    spans = [(unreadable if number % 2 else span)(0, trace=number % 16) for number in range(4 * _MOST_FAILURES)]
    with open_database(tmp_path_url) as database:
        ingest = CountedIngest(database)
        refused = save_splitting(ingest, spans)
        assert ingest.calls <= 3 * _MOST_FAILURES
        assert {each.position for each in refused} >= set(range(1, 4 * _MOST_FAILURES, 2))


def spread(number: int, end: int) -> str:
    """A trace id; the first 8 bytes of several are in no order."""
    return f"{number * 0x9E3779B97F4A7C15 % 2**64:016x}{end:016x}"


def test_trace_without_bad_spans_is_never_refused_however_many_others_are_bad(tmp_path_url: str) -> None:
    """Those of others come in the same transaction: a client's bad spans must not cost another client its good ones."""
    theirs = [span(n, 0 if n else None)._replace(trace_id=spread(trace, 9)) for trace in range(200) for n in range(3)]
    ours = [
        span(n, 0 if n else None)._replace(trace_id=spread(1_000 + pair, last))
        for pair in range(150)
        for last in (1, 2)
        for n in (0, 1)
    ]
    with open_database(tmp_path_url) as database:
        ingest = CountedIngest(database)
        refused = save_splitting(ingest, [*ours[:300], *theirs, *ours[300:]])
        assert {each.span.trace_id[-1] for each in refused} <= {"1", "2"}
        assert len(stored_steps(database)) == 200 * 2 + 150
        assert len(stored_runs(database)) >= 200 + 150
        traces = 200 + 300
        assert ingest.calls <= 2 * traces + 2 * _MOST_FAILURES


def test_bad_spans_of_one_sender_cost_few_transactions_of_the_spans_of_another(tmp_path_url: str) -> None:
    resource = Resource({"service.name": "theirs"})
    theirs = [span(0)._replace(trace_id=spread(trace, 9), resource=resource) for trace in range(500)]
    ours = [unreadable(0)._replace(trace_id=spread(500 + trace, 1)) for trace in range(100)]
    with open_database(tmp_path_url) as database:
        ingest = CountedIngest(database)
        assert len(save_splitting(ingest, [*ours, *theirs])) == 100
        assert ingest.calls <= 2 * 100 + 20


def test_time_that_is_over_refuses_nothing_that_was_not_tried(database: Database) -> None:
    spans = [(unreadable if trace == 3 else span)(0, trace=trace) for trace in range(9)]
    with pytest.raises(UnfinishedError, match="0 seconds were too few") as raised:
        save_splitting(Ingest(database), spans, seconds=0)
    assert raised.value.refused == []
    assert raised.value.left == frozenset(range(9))


@pytest.mark.parametrize("error", [MemoryError(), RecursionError()])
def test_error_of_the_whole_process_is_no_reason_to_try_parts(
    database: Database, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[object] = []

    def fail(*args: object, **_: object) -> None:
        calls.append(args)
        raise error

    ingest = Ingest(database)
    monkeypatch.setattr(ingest, "_settle", fail)
    with pytest.raises(type(error)):
        save_splitting(ingest, [span(0), span(1, 0)])
    assert len(calls) == 1


@pytest.fixture
def tmp_path_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('splitting') / 'runs.db'}"


def test_database_that_is_away_is_no_fault_of_the_spans(tmp_path_url: str) -> None:
    with open_database(f"{tmp_path_url}?timeout=0.01") as database, open_database(tmp_path_url) as other:
        with other.write(), pytest.raises(StoreUnavailableError):
            save_splitting(Ingest(database), [span(0), span(1, 0)])
        assert save_splitting(Ingest(database), [span(0), span(1, 0)]) == []


@pytest.mark.parametrize("trace", [0, 1])
def test_race_that_is_lost_at_every_try_refuses_no_span_and_all_others_are_stored(
    database: Database, trace: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A span that is refused is gone for good; one that lost a race is to be sent again."""
    spans = [span(number, 0 if number else None, trace=trace) for trace in range(2) for number in range(4)]
    ingest = Ingest(database)
    settle = ingest._settle

    def lose(facts: Sequence[Facts], known: frozenset[str], losses: Sequence[Loss]) -> set[str]:
        if row_id(2, trace) in {each.node_id for each in facts}:
            raise RaceError
        return settle(facts, known, losses)

    monkeypatch.setattr(ingest, "_settle", lose)
    with pytest.raises(StoreUnavailableError):
        save_splitting(ingest, spans)
    assert set(stored_steps(database)) == {row_id(n, t) for n in (1, 2, 3) for t in (0, 1)} - {row_id(2, trace)}
    monkeypatch.undo()
    assert save_splitting(ingest, spans) == []
    assert len(stored_steps(database)) == 6


@pytest.mark.parametrize("error", [StoreError("damaged"), StoreAccessError("no permission"), OSError("disk")])
def test_database_in_need_of_repair_is_no_fault_of_the_spans(
    database: Database, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    ingest = Ingest(database)
    monkeypatch.setattr(ingest, "_settle", fail)
    with pytest.raises(type(error)):
        save_splitting(ingest, [span(0), span(1, 0)])


def test_database_without_a_table_refuses_nothing_and_raises(database: Database) -> None:
    with database.write() as connection:
        connection.exec_driver_sql("DROP TABLE dependencies")
    declared = span(1, 0, attributes={key.MODEL_DEPENDS_ON: ("raw.orders",)})
    with pytest.raises(StoreError):
        save_splitting(Ingest(database), [span(0), declared])
    assert stored_runs(database) == {}


def test_strict_mapping_refuses_only_the_span_that_cannot_be_read(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_RUNS_STRICT", "true")
    bad = span(1, 0, attributes={key.ROWS_AFFECTED: "many"})
    [refused] = save_splitting(Ingest(database), [span(0), bad, span(2, 0)])
    assert isinstance(refused.error, MappingError)
    assert set(stored_steps(database)) == {row_id(2)}


def test_span_that_a_postgresql_column_cannot_hold_is_refused(new_postgres_url: Callable[[], str]) -> None:
    with open_database(new_postgres_url()) as database:
        bad = span(1, 0)._replace(span_id="\x00" * 16)
        [refused] = save_splitting(Ingest(database), [span(0), bad, span(2, 0)])
        assert refused.position == 1
        assert set(stored_steps(database)) == {row_id(2)}
