"""The queue: acknowledged means committed, full means "send again", and one bad request harms no other."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager

import pytest

from otel_runs.errors import DecodeError, OverloadedError, StoppingError, StoreUnavailableError
from otel_runs.ingest.splitting import RefusedSpan, UnfinishedError
from otel_runs.receiver.intake import Intake
from otel_runs.receiver.meters import Meters
from otel_runs.receiver.request import Encoding, Outcome, Request
from otel_runs.receiver.room import Room
from otel_runs.receiver.storing import BATCH_SPANS, LARGE_REQUEST_SPANS, Storing
from otel_runs.spans.limits import limits_from_settings
from otel_runs.spans.span import Span
from tests.server.requests import new_request, new_trace
from tests.spans.otlp import document, otlp_span, traces

SECONDS = 20


def request(steps: int = 2) -> Request:
    return Request("traces", "protobuf", new_request(steps).SerializeToString())


class Shelf:
    """Where spans are stored; transactions wait while it is closed."""

    def __init__(self) -> None:
        self.transactions: list[list[str]] = []
        self.is_open = threading.Event()
        self.is_open.set()
        self.is_asked = threading.Event()
        self.error: Exception | None = None
        self.bad: set[str] = set()
        """Names of spans that cannot be stored."""

    def save(self, spans: Sequence[Span]) -> list[RefusedSpan]:
        self.is_asked.set()
        assert self.is_open.wait(SECONDS)
        if self.error is not None:
            raise self.error
        self.transactions.append([span.name for span in spans])
        return [RefusedSpan(at, span, ValueError("bad")) for at, span in enumerate(spans) if span.name in self.bad]


@contextmanager
def taking(shelf: Shelf, queue_bytes: int = 10_000_000, writers: int = 1, least_bytes: int = 0) -> Iterator[Intake]:
    limits = limits_from_settings({})
    room = Room(queue_bytes)
    store = Storing(shelf.save, limits, 50_000_000).store
    intake = Intake(store, room=room, meters=Meters(room), writers=writers, least_bytes=least_bytes)
    intake.start()
    try:
        yield intake
    finally:
        shelf.is_open.set()
        assert intake.stop(SECONDS)
        assert room.taken == 0, "all room is given back"


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


def hold(shelf: Shelf, intake: Intake) -> Future[Outcome]:
    """Submit a request, whose transaction then waits until the shelf is opened."""
    shelf.is_open.clear()
    held = intake.submit(request())
    assert shelf.is_asked.wait(SECONDS)
    return held


def test_requests_that_wait_for_a_transaction_share_the_next_one(shelf: Shelf) -> None:
    with taking(shelf) as intake:
        held = hold(shelf, intake)
        waiting = [intake.submit(request(number)) for number in range(1, 6)]
        assert not held.done()
        shelf.is_open.set()
        assert [each.result(SECONDS) for each in waiting] == [Outcome(number + 1, 0, ()) for number in range(1, 6)]
    assert [len(names) for names in shelf.transactions] == [3, 20]


def test_second_writer_leaves_little_to_gather_for_the_first(shelf: Shelf) -> None:
    with taking(shelf, writers=2, least_bytes=100_000) as intake:
        held = hold(shelf, intake)
        waiting = [intake.submit(request(number)) for number in range(1, 6)]
        shelf.is_open.set()
        assert [each.result(SECONDS).stored for each in (held, *waiting)] == [3, 2, 3, 4, 5, 6]
    assert [len(names) for names in shelf.transactions] == [3, 20]


def test_second_writer_takes_much_while_the_first_writes(shelf: Shelf) -> None:
    with taking(shelf, writers=2, least_bytes=5_000) as intake:
        held = hold(shelf, intake)
        shelf.is_asked.clear()
        much = intake.submit(request(1_000))
        assert shelf.is_asked.wait(SECONDS)
        assert not held.done()
        shelf.is_open.set()
        assert (held.result(SECONDS).stored, much.result(SECONDS).stored) == (3, 1_001)


def test_nothing_is_answered_before_its_transaction_ends(shelf: Shelf) -> None:
    with taking(shelf) as intake:
        held = hold(shelf, intake)
        assert not held.done()
        assert shelf.transactions == []
        shelf.is_open.set()
        assert held.result(SECONDS).stored == 3


def test_request_that_cannot_be_read_harms_no_other_of_its_transaction(shelf: Shelf) -> None:
    with taking(shelf) as intake:
        hold(shelf, intake)
        bad = intake.submit(Request("traces", "protobuf", b"\xff\xff"))
        good = intake.submit(request())
        shelf.is_open.set()
        assert good.result(SECONDS) == Outcome(3, 0, ())
        with pytest.raises(DecodeError):
            bad.result(SECONDS)


def test_refused_spans_are_told_to_the_request_that_brought_them(shelf: Shelf) -> None:
    shelf.bad = {"bad"}
    with taking(shelf) as intake:
        hold(shelf, intake)
        good = intake.submit(request())
        mixed = intake.submit(
            Request("traces", "protobuf", traces(*new_trace(3), otlp_span(name="bad")).SerializeToString())
        )
        also_good = intake.submit(request())
        shelf.is_open.set()
        assert (good.result(SECONDS), also_good.result(SECONDS)) == (Outcome(3, 0, ()), Outcome(3, 0, ()))
        outcome = mixed.result(SECONDS)
    assert (outcome.stored, outcome.refused) == (4, 1)
    assert "cannot be stored: bad" in outcome.message


def test_only_requests_whose_spans_are_left_over_are_put_off(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    save = shelf.save

    def leave_late_ones(spans: Sequence[Span]) -> list[RefusedSpan]:
        refused = save(spans)
        if late := [at for at, span in enumerate(spans) if span.name == "late"]:
            raise UnfinishedError("the time is over", late, refused)
        return refused

    monkeypatch.setattr(shelf, "save", leave_late_ones)
    shelf.bad = {"bad"}
    with taking(shelf) as intake:
        hold(shelf, intake)
        good = intake.submit(request())
        bad, late = (
            intake.submit(Request("traces", "protobuf", traces(otlp_span(name=name)).SerializeToString()))
            for name in ("bad", "late")
        )
        shelf.is_open.set()
        assert good.result(SECONDS) == Outcome(3, 0, ())
        assert bad.result(SECONDS).refused == 1
        with pytest.raises(StoreUnavailableError):
            late.result(SECONDS)


@pytest.mark.parametrize("encoding", ["protobuf", "json"])  # JSON is read all at once
def test_large_request_takes_several_transactions_and_one_answer(shelf: Shelf, encoding: Encoding) -> None:
    message = new_request(2 * BATCH_SPANS)
    body = message.SerializeToString() if encoding == "protobuf" else json.dumps(document(message)).encode()
    with taking(shelf) as intake:
        assert intake.submit(Request("traces", encoding, body)).result(SECONDS).stored == 2 * BATCH_SPANS + 1
    assert len(shelf.transactions) >= 3
    assert max(map(len, shelf.transactions)) <= BATCH_SPANS


def large_request(name: str) -> Request:
    """A body that is read in parts; its spans take several transactions."""
    spans = [otlp_span(name=f"{name} {number} {'x' * 100}") for number in range(3 * BATCH_SPANS)]
    return Request("traces", "protobuf", traces(*spans).SerializeToString())


def test_large_request_is_read_part_by_part_and_answered_once(shelf: Shelf) -> None:
    shelf.bad = {f"large {number} {'x' * 100}" for number in (0, 3 * BATCH_SPANS - 1)}
    with taking(shelf) as intake:
        outcome = intake.submit(large_request("large")).result(SECONDS)
    assert (outcome.stored, outcome.refused, len(outcome.reasons)) == (3 * BATCH_SPANS - 2, 2, 2)
    assert sum(map(len, shelf.transactions)) == 3 * BATCH_SPANS
    assert max(map(len, shelf.transactions)) <= LARGE_REQUEST_SPANS < BATCH_SPANS


def test_large_request_of_which_a_part_cannot_be_stored_is_asked_for_again_and_tried_no_further(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved: list[int] = []
    save = shelf.save

    def fail_the_second(spans: Sequence[Span]) -> list[RefusedSpan]:
        saved.append(len(spans))
        shelf.error = StoreUnavailableError("down") if len(saved) == 2 else None
        return save(spans)

    monkeypatch.setattr(shelf, "save", fail_the_second)
    with taking(shelf) as intake:
        with pytest.raises(StoreUnavailableError):
            intake.submit(large_request("large")).result(SECONDS)
        assert len(saved) == 2
        assert intake.submit(request()).result(SECONDS).stored == 3


def test_full_queue_refuses_at_once_and_takes_again_when_it_has_room(shelf: Shelf) -> None:
    with taking(shelf, queue_bytes=20_000) as intake:
        held = [hold(shelf, intake)]
        with pytest.raises(OverloadedError, match="of 20000 wait"):
            while len(held) < 20:
                held.append(intake.submit(request()))
        assert 2 <= len(held) < 10
        shelf.is_open.set()
        assert [each.result(SECONDS).stored for each in held] == [3] * len(held)
        assert intake.submit(request()).result(SECONDS).stored == 3


def test_request_larger_than_the_queue_is_taken_when_nothing_else_waits(shelf: Shelf) -> None:
    with taking(shelf, queue_bytes=10) as intake:
        assert intake.submit(request(100)).result(SECONDS).stored == 101


def test_requests_without_a_body_count_too(shelf: Shelf) -> None:
    with taking(shelf, queue_bytes=100_000) as intake:
        hold(shelf, intake)
        with pytest.raises(OverloadedError):
            for _ in range(100):
                intake.submit(Request("traces", "protobuf", b""))
        shelf.is_open.set()


def test_database_that_is_away_fails_what_waits_and_nothing_later(shelf: Shelf) -> None:
    with taking(shelf) as intake:
        shelf.error = StoreUnavailableError("down")
        with pytest.raises(StoreUnavailableError):
            intake.submit(request()).result(SECONDS)
        shelf.error = None
        assert intake.submit(request()).result(SECONDS).stored == 3


def test_defect_in_the_writer_fails_its_requests_and_the_writer_goes_on(
    shelf: Shelf, caplog: pytest.LogCaptureFixture
) -> None:
    with taking(shelf) as intake:
        shelf.error = ZeroDivisionError()
        with pytest.raises(ZeroDivisionError):
            intake.submit(request()).result(SECONDS)
        shelf.error = None
        assert intake.submit(request()).result(SECONDS).stored == 3
    assert "this is a defect" in caplog.text


def test_client_that_no_longer_waits_costs_nothing(shelf: Shelf) -> None:
    with taking(shelf) as intake:
        hold(shelf, intake)
        gone = intake.submit(request())
        assert gone.cancel()
        stays = intake.submit(request())
        shelf.is_open.set()
        assert stays.result(SECONDS).stored == 3
    assert [len(names) for names in shelf.transactions] == [3, 6]


def test_stop_writes_what_was_accepted_and_refuses_what_comes(shelf: Shelf) -> None:
    with taking(shelf) as intake:
        accepted = [hold(shelf, intake), *(intake.submit(request()) for _ in range(3))]
        stopping = threading.Thread(target=lambda: stopped.append(intake.stop(SECONDS)))
        stopped: list[bool] = []
        stopping.start()
        with pytest.raises(StoppingError):
            while True:  # what is taken until then must be written; the queue would be full in the end
                accepted.append(intake.submit(request()))
        shelf.is_open.set()
        stopping.join(SECONDS)
        assert stopped == [True]
        assert [each.result(0).stored for each in accepted] == [3] * len(accepted)


def test_stop_that_cannot_write_in_time_answers_what_waits(shelf: Shelf) -> None:
    with taking(shelf) as intake:
        hold(shelf, intake)
        waiting = intake.submit(request())
        assert not intake.stop(0.1)
        with pytest.raises(StoppingError):
            waiting.result(0)


def test_large_request_is_taken_while_small_ones_fill_the_queue_but_one_at_a_time(shelf: Shelf) -> None:
    """It would hardly ever find the queue empty enough."""
    large = Request("traces", "protobuf", new_request().SerializeToString() + b"\xfa\x07\x80\x80\x04" + bytes(65_536))
    with taking(shelf, queue_bytes=100_000) as intake:
        shelf.is_open.clear()
        small = [intake.submit(request())]
        with pytest.raises(OverloadedError):
            while True:
                small.append(intake.submit(request()))
        taken = intake.submit(large)
        with pytest.raises(OverloadedError):
            intake.submit(large)
        shelf.is_open.set()
        for future in [*small, taken]:
            assert future.result(SECONDS).stored == 3
        assert intake.submit(large).result(SECONDS).stored == 3
        assert intake.submit(large).result(SECONDS).stored == 3, "its place outside is free again"
