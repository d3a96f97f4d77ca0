"""Servers under load, each with an empty database: ``otel-runs serve``, Jaeger, and what the driver alone can do."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from bench.exports import TABLES, Postgres, Row, Sqlite, Target
from bench.load import Protocol, run_load
from bench.payloads import write_payloads
from bench.usage import Process, resident_megabytes, shared_megabytes
from otel_runs.receiver.storing import BATCH_SPANS
from otel_runs.store.engine import open_database
from tests.sampled import sampled
from tests.servers.jaeger import Jaeger
from tests.servers.serve import Serve
from tests.servers.service import Service

_JAEGER_SYNCED = "yaml:extensions::jaeger_storage::backends::traces::badger::consistency: true"


class Load(NamedTuple):
    """Requests, and how they are sent."""

    title: str
    size: int
    """Spans a request."""
    spans: int
    """In all."""
    connections: int
    folder: Path

    @property
    def file(self) -> Path:
        """The requests, encoded when they are asked for the first time."""
        file = self.folder / f"{self.size}-{self.spans}.requests"
        if not file.exists():
            write_payloads(file, self.size, self.spans)
        return file


class Measure(NamedTuple):
    """One load on one server."""

    spans_a_second: float
    """From the first request to the last acknowledgement."""
    cpu_seconds: float | None = None
    """Of the server, for 100,000 spans; None: it was not watched."""
    load_cpu_seconds: float | None = None
    """Of the process that sends, for 100,000 spans."""
    megabytes: float | None = None
    """The server's peak: the resident sets of its processes, added up."""
    megabytes_together: float | None = None
    """The most that was seen, ten times a second, less what the processes still share afterwards: a little too much."""
    p50_ms: float | None = None
    p95_ms: float | None = None
    refused: int = 0
    """Answers that asked to send again."""


def serve(target: Target, protocol: Protocol, load: Load, url: str | None = None, *, workers: int = 1) -> Measure:
    """``otel-runs serve`` into an empty database. Everything sent must be in the tables afterwards.

    Args:
        target: whose database it is.
        protocol: that the load speaks.
        load: what is sent.
        url: the database, where it is wanted later; None: a new one.
        workers: processes that write.
    """
    url = url or target.new_url()
    open_database(url).close()  # the tables are not what is measured
    server = Serve(url, workers=workers)
    server.start()
    try:
        address = server.grpc if protocol == "grpc" else server.http.removeprefix("http://")
        measure = under(server, protocol, address, load)
    finally:
        server.stop()
    stored = sum(len(rows) for table in ("runs", "model_runs") for rows in target.batches(url, table))
    assert stored == load.spans, (stored, load)
    return measure


def jaeger(load: Load) -> Measure:
    """Jaeger v2 on Badger, which syncs its writes as we do."""
    server = SyncedJaeger()
    server.start()
    try:
        return under(server, "grpc", server.grpc, load)
    finally:
        server.stop()


def driver(target: Target, model_url: str, spans: int) -> Measure:
    """The driver alone: the rows of another database, ready to be written, in batches as large as the server's."""
    url = target.new_url()
    open_database(url).close()
    insert = target.copy if isinstance(target, Postgres) else target.insert
    return Measure(spans / insert(url, _rows(target, model_url)))


def under(server: Service, protocol: Protocol, address: str, load: Load) -> Measure:
    """Load a server that has just started."""
    process = Process(server.process_id)
    cpu_seconds = process.cpu_seconds
    with sampled(partial(resident_megabytes, process.ids)) as resident:
        sent = run_load(protocol, address, load.file, load.connections)
    share = 100_000 / load.spans
    return Measure(
        load.spans / sent.seconds,
        (process.cpu_seconds - cpu_seconds) * share,
        sent.cpu_seconds * share,
        process.peak_megabytes,
        max(resident) - shared_megabytes(process.ids),
        sent.p50_ms,
        sent.p95_ms,
        sent.refused,
    )


class SyncedJaeger(Jaeger):
    """With the project's config file, but that a write is on disk before it is acknowledged."""

    def command(self) -> list[str]:
        return [*super().command(), f"--config={_JAEGER_SYNCED}"]


def synced_sqlite(folder: Path) -> Sqlite:
    """SQLite, committed as the server commits."""
    return Sqlite(folder, "FULL")


def _rows(target: Target, url: str) -> Iterator[tuple[str, list[Row]]]:
    return ((table, rows) for table in TABLES for rows in target.batches(url, table, BATCH_SPANS))
