from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from otel_runs.importer.importer import Counts, Importer
from otel_runs.store.engine import Database, open_database
from tests.importer.nightly import spans
from tests.ingest.contents import Contents, contents_of, empty
from tests.ingest.stored import save

FILES = Path(__file__).parent / "files"


class Imported(NamedTuple):
    """What became of files, and what was told of them."""

    counts: Counts
    problems: list[str]


Read = Callable[..., Imported]


@pytest.fixture
def history(tmp_path: Path) -> Iterator[Database]:
    """An empty history in SQLite; that both databases store the same, tests/ingest shows."""
    with open_database(tmp_path / "history" / "runs.db") as database:
        yield database


@pytest.fixture
def read(history: Database) -> Read:
    """Reads files into the history."""

    def run(*names: str | Path) -> Imported:
        problems: list[str] = []
        importer = Importer(history, problems.append, lambda _: None)
        for name in names:
            importer.read(str(name))
        return Imported(importer.counts, problems)

    return run


@pytest.fixture
def in_process(history: Database) -> Contents:
    """The rows that the same pipeline leaves when it exports in process; the history is empty again."""
    save(history, spans())
    contents = contents_of(history)
    empty(history)
    return contents
