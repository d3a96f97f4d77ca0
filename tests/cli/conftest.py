from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from otel_runs.cli.app import app
from otel_runs.store.engine import Database, open_database
from tests.query.rows import Rows


class Outcome(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str


CommandLine = Callable[..., Outcome]

# Bold, dim and links are no colours: NO_COLOR leaves them.
_OUR_SEQUENCES = re.compile(r"\x1b\[(?:0|1|2|1;2)m|\x1b\]8;[^\x1b]*\x1b\\")


@pytest.fixture(autouse=True)
def _nothing_from_the_terminal_of_the_developer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "TERM", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def otel_runs(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    """Runs the command line in this process; with ``width``, as on a terminal, whose sequences are taken out."""

    def run(*arguments: str, width: int | None = None, colours: bool = False) -> Outcome:
        with monkeypatch.context() as patch:
            if width is not None:
                patch.setenv("FORCE_COLOR", "1")
                patch.setenv("COLUMNS", str(width))
                if not colours:
                    patch.setenv("NO_COLOR", "1")
            capsys.readouterr()
            with pytest.raises(SystemExit) as ended:
                app(list(arguments), prog_name="otel-runs")
        printed = capsys.readouterr()
        code = ended.value.code
        out, err = (text if colours else _OUR_SEQUENCES.sub("", text) for text in printed)
        return Outcome(code if isinstance(code, int) else 0, out, err)

    return run


@pytest.fixture
def history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    """An empty SQLite history, the one that commands take by themselves."""
    path = tmp_path / "history" / "runs.db"
    monkeypatch.setenv("OTEL_RUNS_DB", str(path))
    with open_database(path) as database:
        yield database


@pytest.fixture
def rows(history: Database) -> Rows:
    """Puts rows into the history."""
    return Rows(history)
