"""``python -m bench.growing ROWS``: whether a database that is full takes spans as fast as an empty one.

Fills a database through ``otel-runs serve``, then loads it and empty ones in turns. Five million rows take minutes a
database, so this is no part of ``make bench-receiving``.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from bench.exports import Postgres, Target
from bench.load import run_load
from bench.payloads import write_payloads
from bench.receivers import synced_sqlite
from bench.rounds import interleaved
from bench.run import POSTGRES, machine
from otel_runs.store.engine import open_database
from tests.servers.postgres import PostgresServer
from tests.servers.serve import Serve

SIZE = 1_000
"""Spans a request."""
CONNECTIONS = 10
PARTS = 20
ROUND_SPANS = 60_000
LEAST_RATIO = 0.85


def grow(
    target: Target, rows: int, folder: Path, tell: Callable[[str], object], *, parts: int = PARTS, rounds: int = 3
) -> float:
    """Fill one database, and compare it with empty ones.

    Args:
        target: whose databases they are.
        rows: how many are written before the comparison.
        folder: for the requests.
        tell: called with a line for each part of the way, and for the comparison.
        parts: of the way.
        rounds: of the comparison.

    Returns:
        The speed of the full one, divided by that of an empty one.
    """
    server, url = _started(target)
    part = max(SIZE, rows // parts // SIZE * SIZE)
    try:
        for number in range(1, parts + 1):
            speed = _spans_a_second(server, part, folder)
            tell(f"{target.name}, part {number} of {parts}: {speed:,.0f} spans a second, {_size(target, url)}")
        round_spans = min(ROUND_SPANS, part)
        contenders = {
            "full": partial(_spans_a_second, server, round_spans, folder),
            "empty": partial(_into_empty, target, round_spans, folder),
        }
        samples = interleaved(contenders, rounds)
    finally:
        server.stop()
    ratio = samples.ratio("full", "empty")
    speeds = " ".join(f"{name} {samples.median(name):,.0f}" for name in contenders)
    tell(f"{target.name} with {parts * part:,} rows, spans a second: {speeds}, ratio {ratio:.2f}")
    return ratio


def _started(target: Target) -> tuple[Serve, str]:
    url = target.new_url()
    open_database(url).close()
    server = Serve(url)
    server.start()
    return server, url


def _into_empty(target: Target, spans: int, folder: Path) -> float:
    server, _ = _started(target)
    try:
        _spans_a_second(server, CONNECTIONS * SIZE, folder)  # the full one's server is warm, too
        return _spans_a_second(server, spans, folder)
    finally:
        server.stop()


def _spans_a_second(server: Serve, spans: int, folder: Path) -> float:
    file = folder / "growing.requests"
    write_payloads(file, SIZE, spans)
    return spans / run_load("grpc", server.grpc, file, CONNECTIONS).seconds


def _size(target: Target, url: str) -> str:
    return f"{target.bytes_used(url) / 1e6:,.0f} MB"


def main(rows: int) -> None:
    """Measure and print."""
    print(machine())
    with tempfile.TemporaryDirectory(prefix="otel-runs-bench-") as folder:
        server = PostgresServer(POSTGRES, fsync=True)
        try:
            targets = (synced_sqlite(Path(folder)), Postgres(server, POSTGRES))
            ratios = [grow(target, rows, Path(folder), partial(print, flush=True)) for target in targets]
        finally:
            server.stop()
    print(f"goal, at least {LEAST_RATIO}: {'met' if min(ratios) >= LEAST_RATIO else 'not met'}")


if __name__ == "__main__":
    main(int(sys.argv[1]))
