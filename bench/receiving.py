"""``make bench-receiving``: what ``otel-runs serve`` takes in, measured, printed, and written to bench/receiving.md.

Spans count from the first request to the acknowledgement of the last, which comes after the commit. All databases are
on this machine's disk and wait for it: SQLite with synchronous=FULL, PostgreSQL with fsync, Badger with consistency.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from itertools import product
from pathlib import Path
from statistics import median
from typing import NamedTuple

from rich.console import Console

from bench.exports import Postgres, Target
from bench.load import Protocol
from bench.receivers import Load, Measure, driver, jaeger, serve, synced_sqlite
from bench.rounds import Line, Samples, interleaved
from bench.run import HEADS, POSTGRES, cells, machine
from tests.servers.postgres import PostgresServer

RESULTS = Path(__file__).with_name("receiving.md")
PROTOCOLS: tuple[Protocol, ...] = ("http", "grpc")
WORKERS = (1, 2)
"""Processes that write."""
LEAST_SPANS = 40_000
LEAST_OF_DRIVER = 0.5
MOST_MEGABYTES = 150
COLUMNS = (
    "what",
    "requests",
    "least",
    "median",
    "most",
    "CPU s",
    "sender's CPU s",
    "peak MB",
    "together MB",
    "p50 ms",
    "p95 ms",
    "refused",
)


class Loads(NamedTuple):
    """What is sent."""

    usual: Load
    small: Load
    crowd: Load
    jaeger: Load


def loads(folder: Path, share: float = 1.0) -> Loads:
    """The loads of a measurement, or a share of each."""

    def load(title: str, size: int, requests: int, connections: int) -> Load:
        number = max(connections, round(requests * share))
        return Load(title, size, size * number, connections, folder)

    return Loads(
        usual=load("1,000 spans, 10 at a time", 1_000, 60, 10),
        small=load("10 spans, 30 at a time", 10, 1_000, 30),
        # More than the server's queue holds: it must refuse, stay as it is, and take all of it in the end.
        crowd=load("10,000 spans, 20 at a time", 10_000, 20, 20),
        # A tenth, because it takes ten times as long.
        jaeger=load("1,000 spans, 10 at a time", 1_000, 10, 10),
    )


class Results(NamedTuple):
    """All rounds of all contenders."""

    measures: Mapping[str, list[Measure]]
    samples: Samples
    """Of spans a second."""
    requests: Mapping[str, str]
    """Contender -> title of its load."""


def measure(targets: Iterable[Target], loads_: Loads, *, rounds: int = 3) -> Results:
    """Give each contender its turn in each round."""
    contenders: dict[str, Callable[[], Measure]] = {}
    requests: dict[str, str] = {}
    for target in targets:
        model_url = target.new_url()
        serve(target, "grpc", loads_.usual, model_url)  # a warm-up, and the driver's rows
        contenders[_driver(target)] = partial(driver, target, model_url, loads_.usual.spans)
        for workers in WORKERS:
            for protocol, load in _loads(loads_, workers):
                name = _ours(target, protocol, load, workers)
                contenders[name] = partial(serve, target, protocol, load, workers=workers)
                requests[name] = load.title
    contenders[_JAEGER] = partial(jaeger, loads_.jaeger)
    requests[_JAEGER] = loads_.jaeger.title
    measures: dict[str, list[Measure]] = {name: [] for name in contenders}

    def taken(name: str) -> float:
        measures[name].append(contenders[name]())
        return measures[name][-1].spans_a_second

    return Results(measures, interleaved({name: partial(taken, name) for name in contenders}, rounds), requests)


def lines(results: Results, targets: Collection[Target], loads_: Loads) -> Iterable[Line]:
    """The goals."""
    for target in targets:
        for protocol, workers in product(PROTOCOLS, WORKERS):
            name = _ours(target, protocol, loads_.usual, workers)
            speed = results.samples.median(name)
            driver_speed = results.samples.median(_driver(target))
            ratio = results.samples.ratio(name, _driver(target))
            question, ours = f"spans a second, {name}", f"{speed:,.0f}"
            of_driver = f"driver: {driver_speed:,.0f}"
            yield Line(question, ours, of_driver, ratio, f"at least {LEAST_OF_DRIVER}", ratio >= LEAST_OF_DRIVER)
            yield Line(question, ours, "-", None, f"at least {LEAST_SPANS:,}", speed >= LEAST_SPANS)
            jaeger_speed = f"Jaeger: {results.samples.median(_JAEGER):,.0f}"
            ratio = results.samples.ratio(name, _JAEGER)
            yield Line(question, ours, jaeger_speed, ratio, "at least 1", ratio >= 1)
    most = f"under {MOST_MEGABYTES}"
    for workers in WORKERS:
        names = [_ours(target, *load, workers) for target in targets for load in _loads(loads_, workers)]
        found = [each for name in names for each in results.measures[name]]
        for question, sizes in (
            ("peak memory of the server, any load, MB", [each.megabytes for each in found]),
            ("the same, what its processes share counted once, MB", [each.megabytes_together for each in found]),
        ):
            peak = max(size or 0.0 for size in sizes)
            yield Line(question + _with(workers), f"{peak:.0f}", "-", None, most, peak < MOST_MEGABYTES)


def _loads(loads_: Loads, workers: int) -> list[tuple[Protocol, Load]]:
    """What a server gets. Small requests keep its own process busy, so they need no workers."""
    sent = (loads_.usual, loads_.small, loads_.crowd) if workers == 1 else (loads_.usual, loads_.crowd)
    return [(protocol, load) for load in sent for protocol in PROTOCOLS]


_JAEGER = "Jaeger v2 on Badger, grpc"


def _driver(target: Target) -> str:
    return f"the driver alone into {target.name}"


def _ours(target: Target, protocol: Protocol, load: Load, workers: int) -> str:
    return f"{protocol} into {target.name}, requests of {load.size:,} spans{_with(workers)}"


def _with(workers: int) -> str:
    return f", {workers} workers" if workers > 1 else ""


def page(results: Results, goals: Iterable[Line], machine_: str) -> str:
    """The results as a page."""
    rows = [_row(name, results.requests.get(name, "-"), found) for name, found in results.measures.items()]
    rounds = max(map(len, results.measures.values()))
    return (
        "# What `otel-runs serve` takes in\n\n"
        "Written by `make bench-receiving`. Spans a second count from the first request to the acknowledgement of the\n"
        "last, which comes after the commit, to disk; what was sent is then counted in the tables. Contenders take\n"
        "turns, each with an empty database and the server as a new process; ratios are taken within a round. CPU is\n"
        "in seconds for 100,000 spans, of the server's process, and of the process that sends encoded requests on the\n"
        "same cores. The driver writes the rows of the same spans, ready made, in transactions as large as the\n"
        "server's: executemany for SQLite, COPY for PostgreSQL. `refused` are answers that asked to send again.\n"
        "`peak MB` adds up the peak resident sets of the server's processes, so that what they share is counted for\n"
        "each; `together MB` is the most that they held at one time, with what they share counted once. Of both the\n"
        "round with the most stands here, of the rest the median.\n\n"
        f"{machine_}; rounds: {rounds}\n\n{_table((COLUMNS, *rows))}\n{_table((HEADS, *map(cells, goals)))}"
    ).rstrip("\n") + "\n"


def _row(name: str, requests: str, found: list[Measure]) -> tuple[str, ...]:
    speeds = [each.spans_a_second for each in found]
    measured = (
        _cell(median, [each.cpu_seconds for each in found], ".2f"),
        _cell(median, [each.load_cpu_seconds for each in found], ".2f"),
        _cell(max, [each.megabytes for each in found], ".0f"),
        _cell(max, [each.megabytes_together for each in found], ".0f"),
        _cell(median, [each.p50_ms for each in found], ".0f"),
        _cell(median, [each.p95_ms for each in found], ".0f"),
    )
    refused = f"{median(each.refused for each in found):.0f}"
    return (name, requests, *(f"{pick(speeds):,.0f}" for pick in (min, median, max)), *measured, refused)


def _cell(pick: Callable[[list[float]], float], values: list[float | None], form: str) -> str:
    known = [value for value in values if value is not None]
    return format(pick(known), form) if known else "-"


def _table(rows: Iterable[tuple[str, ...]]) -> str:
    head, *rest = rows
    return "".join(f"| {' | '.join(row)} |\n" for row in (head, ("---",) * len(head), *rest))


def main() -> None:
    """Measure, print, write."""
    console = Console()
    with tempfile.TemporaryDirectory(prefix="otel-runs-bench-") as folder, console.status("measuring"):
        server = PostgresServer(POSTGRES, fsync=True)
        try:
            targets = (synced_sqlite(Path(folder)), Postgres(server, POSTGRES))
            chosen = loads(Path(folder))
            results = measure(targets, chosen)
        finally:
            server.stop()
        text = page(results, lines(results, targets, chosen), machine())
    console.print(text)
    RESULTS.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
