"""``make bench``: measure everything, print it, and write bench/results.md."""

from __future__ import annotations

import os
import platform
import sqlite3
import tempfile
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench import calls, exports, importing, live
from bench.rounds import Line
from tests.servers.postgres import PostgresServer

RESULTS = Path(__file__).with_name("results.md")
HEADS = ("what", "otel_runs", "against", "ratio", "goal", "met")
PACKAGES = ("otel-runs", "opentelemetry-sdk", "sqlalchemy", "psycopg", "logfire", "mlflow-skinny")
POSTGRES = 18


def measure(folder: Path) -> Iterable[Line]:
    """All lines, as they are measured."""
    yield from importing.lines()
    yield from calls.lines(folder)
    yield from live.lines(folder)
    server = PostgresServer(POSTGRES)
    try:
        for target in (exports.Sqlite(folder), exports.Postgres(server, POSTGRES)):
            for workload in (exports.SMALL, exports.LONG):
                yield from exports.lines(target, workload)
    finally:
        server.stop()


def cells(line: Line) -> tuple[str, ...]:
    """A line as text."""
    ratio = "-" if line.ratio is None else f"{line.ratio:.2f}"
    return (line.question, line.ours, line.other, ratio, line.goal, "yes" if line.is_met else "no")


def page(lines: Iterable[Line], machine: str) -> str:
    """The results as a page."""
    table = [HEADS, ("---",) * len(HEADS), *map(cells, lines)]
    return (
        "# What was measured\n\n"
        "Written by `make bench`. Contenders take turns, and ratios are taken within a round: they hold where\n"
        "absolute numbers drift. A ratio is otel_runs divided by the other; the median of all rounds stands here.\n\n"
        f"{machine}\n\n" + "\n".join(f"| {' | '.join(row)} |" for row in table) + "\n"
    )


def machine() -> str:
    """Where and with what it was measured."""
    packages = ", ".join(f"{name} {found}" for name in PACKAGES if (found := _version(name)))
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}, "
        f"Python {platform.python_version()} ({_build()}), SQLite {sqlite3.sqlite_version}, {packages}"
    )


def _build() -> str:
    """How the interpreter was built: as a shared library it may take a sixth longer for everything."""
    loaded = Path("/proc/self/maps")
    return "libpython shared" if loaded.exists() and "libpython" in loaded.read_text() else "libpython built in"


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def main() -> None:
    """Measure, print, write."""
    console = Console()
    lines = []
    with tempfile.TemporaryDirectory(prefix="otel-runs-bench-") as folder, console.status("measuring") as status:
        for line in measure(Path(folder)):
            lines.append(line)
            status.update(f"measured: {line.question}")
    table = Table(*HEADS)
    for line in lines:
        table.add_row(*cells(line))
    console.print(table)
    RESULTS.write_text(page(lines, machine()), encoding="utf-8")


if __name__ == "__main__":
    main()
