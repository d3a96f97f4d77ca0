"""``python -m bench.stages``: where the time of a span goes between a request's bytes and its row in SQLite.

CPU of the one thread that does it all, so that other work on the machine counts little; the least of some requests.
"""

from __future__ import annotations

import gc
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from time import thread_time
from typing import Self

from sqlalchemy import event
from sqlalchemy.engine import Engine

from bench.payloads import payloads
from bench.run import machine
from otel_runs.ingest import Ingest
from otel_runs.mapping.facts import facts_from_span
from otel_runs.receiver.storing import BATCH_SPANS
from otel_runs.spans.from_otlp_protobuf import spans_from_protobuf
from otel_runs.spans.limits import Limits, limits_from_settings
from otel_runs.store.engine import open_database

SIZE = BATCH_SPANS // 10 * 10
"""Spans a request and transaction: whole traces."""


class Turn:
    """Measures the transactions, as it is entered around each."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __enter__(self) -> Self:
        self.seconds -= thread_time()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds += thread_time()


def stages(folder: Path, *, size: int = SIZE, requests: int = 30) -> Mapping[str, float]:
    """Microseconds a span by stage.

    Args:
        folder: for the database.
        size: spans a request.
        requests: how many are measured.
    """
    limits = limits_from_settings()
    with open_database(folder / "stages.db", synchronous="FULL") as database:
        turn = Turn()
        ingest = Ingest(database, turn)
        found = [_seconds(ingest, turn, body, limits) for body in islice(payloads(size), requests)]
    return {stage: min(seconds[stage] for seconds in found) / size * 1e6 for stage in found[0]}


def _seconds(ingest: Ingest, turn: Turn, body: bytes, limits: Limits) -> Mapping[str, float]:
    gc.collect()
    turn.seconds = 0.0
    with _statements() as statements:
        start = thread_time()
        spans = spans_from_protobuf(body, limits).spans
        read = thread_time()
        ingest.save(spans)
        saved = thread_time()
    for span in spans:
        facts_from_span(span)  # as the ingest has done before
    mapping = thread_time() - saved
    driver = sum(statements)
    return {
        "read OTLP": read - start,
        "map spans to records": mapping,
        "settle, make rows, commit": saved - read - mapping - driver,
        "the driver's statements": driver,
        "all": saved - start,
        "in the transaction": turn.seconds,
    }


@contextmanager
def _statements() -> Iterator[list[float]]:
    """What each statement that is executed inside takes, in seconds."""
    seconds: list[float] = []

    def before(*_: object) -> None:
        seconds.append(-thread_time())

    def after(*_: object) -> None:
        seconds[-1] += thread_time()

    listeners = (("before_cursor_execute", before), ("after_cursor_execute", after))
    for name, listener in listeners:
        event.listen(Engine, name, listener)
    try:
        yield seconds
    finally:
        for name, listener in listeners:
            event.remove(Engine, name, listener)


def main() -> None:
    """Measure and print."""
    print(machine())
    with tempfile.TemporaryDirectory(prefix="otel-runs-bench-") as folder:
        for stage, microseconds in stages(Path(folder)).items():
            print(f"{stage:<28}{microseconds:6.1f} us")


if __name__ == "__main__":
    main()
