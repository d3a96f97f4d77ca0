"""The demo: a small pipeline over real data (pipeline.py), run twice and shown."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sqlalchemy import URL

PIPELINE: Final = Path(__file__).with_name("pipeline.py")

_NAME: Final = "otel-runs"
_FLUSH_SECONDS: Final = 60.0
"""Longer than a pipeline would wait: here the runs are what somebody waits for."""

_INTRODUCTION: Final = """\
{pipeline} has run twice, on real reports of bird strikes.
Its runs are in {db}{apart}.
"""
_FURTHER: Final = """
Look further:
  {otel_runs} tail --db {db}
  {otel_runs} show --db {db}
  {otel_runs} models --db {db}
{shell}Copy {pipeline} to begin a pipeline of your own.
"""
_SHELL: Final = '  sqlite3 -header -column {db} "SELECT path, runs, avg_ms FROM v_model_stats"\n'


def main(db: str | None = None) -> None:
    """Run the pipeline twice and show its runs, as ``otel-runs tail`` and ``otel-runs show`` do.

    Args:
        db: an SQLAlchemy URL or an SQLite file's path; without it ``.otel_runs/demo.db`` in the project's folder, so
            that a demo never mixes with the history of real runs.

    Raises:
        SettingsError: ``db`` cannot be read.
        StoreError: the database cannot be opened or created.
    """
    from otel_runs.store.folder import default_file
    from otel_runs.store.location import database_url

    url = database_url(db or default_file("demo.db"))
    _record(url)
    _show(url, apart="" if db else ", apart from those of your own pipelines")


# Imports are inside, so that python -m otel_runs.demo.pipeline finds its own module not loaded yet.


def _record(url: URL) -> None:
    """Run the pipeline twice."""
    from otel_runs.demo import pipeline
    from otel_runs.export.configure import configure
    from otel_runs.store.engine import open_database

    # First, because the exporter would only log that it cannot.
    with open_database(url):
        pass
    setup = configure(url.render_as_string(hide_password=False))
    pipeline.main()
    setup.flush(_FLUSH_SECONDS)


def _show(url: URL, apart: str) -> None:
    """Show the runs, and say how to go on."""
    from otel_runs.cli.show import Show, run_show
    from otel_runs.cli.tail import Tail, run_tail
    from otel_runs.store.location import shown, sqlite_path

    file = sqlite_path(url)
    db = shown(url) if file is None else _from_here(file)
    pipeline = _from_here(PIPELINE)
    asked = url.render_as_string(hide_password=False)
    print(_INTRODUCTION.format(pipeline=pipeline, db=db, apart=apart))
    run_tail(asked, Tail(10, (), None, None, nested=False, json=False), None)
    run_show(asked, Show(None, None, exit_status=False, json=False))
    typed = shlex.quote(db)
    shell = "" if file is None else _SHELL.format(db=typed)
    print(_FURTHER.format(otel_runs=_program(), pipeline=pipeline, db=typed, shell=shell), end="")


def _program() -> str:
    """The program that runs, as it is typed here: its path, where the shell finds another one or none."""
    running = Path(sys.argv[0])
    if running.name != _NAME or shutil.which(_NAME) == str(running):
        return _NAME
    path = _from_here(running.absolute())
    return shlex.quote(path if os.sep in path else f"{os.curdir}{os.sep}{path}")


def _from_here(path: Path) -> str:
    """The path as it is typed here: relative, where that is shorter."""
    return min(str(path), os.path.relpath(path), key=len)
