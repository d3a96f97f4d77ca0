"""``otel-runs import``: files of traces into the run database, with a bar that shows how far it is."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Final

import typer

from otel_runs.amounts import many
from otel_runs.cli import exits
from otel_runs.cli.options import Database

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.progress import Progress

    from otel_runs.importer.importer import Counts

_MOST_PROBLEMS: Final = 50
"""Problems that are printed; further ones are only counted."""


def import_command(
    context: typer.Context,
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILE...", help="Files to read, in any order; - is standard input."),
    ],
    *,
    json: Annotated[bool, typer.Option("--json", help="Print what became of the files as JSON.")] = False,
    db: Database = None,
) -> None:
    """Read files of traces into the run database.

    What the Collector's file exporter wrote (JSON lines or protobuf, rotated, compressed), OTLP in JSON or protobuf,
    and traces downloaded from Jaeger; .gz and .zst are decompressed. Other signals in the files are skipped.

    To read a file again changes nothing: an import that was stopped is simply repeated. What cannot be read is
    reported with its place and the rest goes on; the exit code is then 1.
    """
    run_import(db or context.obj, files, json=json)


def run_import(url: str | None, files: Sequence[str], *, json: bool) -> None:
    """Import the files and say what became of them.

    Raises:
        StoreError: the database did not take the spans; what was stored before stays.
        SettingsError: the URL or a limit cannot be used.
        typer.Exit: with exit code 1 where something could not be read.
    """
    from otel_runs.cli.output import print_json, stdout
    from otel_runs.importer.importer import Importer
    from otel_runs.store.engine import open_database

    # Synced at every commit: files may be deleted once they are imported.
    with open_database(url, synchronous="FULL") as database, _progress() as progress:
        bar = _Bar(progress, files)
        problems = _Problems(progress)
        importer = Importer(database, problems.tell, bar.show)
        for name in files:
            importer.read(name)
            bar.next(name)
    counts = importer.counts
    problems.tell_rest()
    if json:
        print_json(counts._asdict())
    else:
        stdout().print(summary(counts), soft_wrap=True)
    if not counts.all_fine:
        raise typer.Exit(exits.ERROR)


def summary(counts: Counts) -> str:
    """What became of the files, in a line."""
    stored = f"Imported {many(counts.spans, 'span')}"
    if counts.started:
        stored += f" and the start of {many(counts.started, 'span')}"
    text = f"{stored} from {many(counts.files, 'file')}."
    skipped = [
        many(counts.log_records, "log record") if counts.log_records else "",
        many(counts.other_signals, "batch", "batches") + " of metrics or profiles" if counts.other_signals else "",
    ]
    if any(skipped):
        text += f" Skipped {' and '.join(filter(None, skipped))}."
    failed = [
        many(counts.refused, "span") if counts.refused else "",
        many(counts.unreadable, "line, message or file", "lines, messages or files") if counts.unreadable else "",
    ]
    if any(failed):
        text += f" Could not read {' and '.join(filter(None, failed))}."
    return text


@contextmanager
def _progress() -> Iterator[Progress]:
    """A bar on standard error while that is a terminal; it leaves nothing behind."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)
    progress = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )
    if not console.is_terminal:  # a bar that is disabled still prints an empty line, in older versions of rich
        yield progress
        return
    with progress:
        yield progress


class _Bar:
    """How much of all files has been read, by their size on the disk; that of standard input is not known."""

    def __init__(self, progress: Progress, files: Sequence[str]) -> None:
        from otel_runs.importer.sources import size_of

        self._sizes = {name: size_of(name) for name in files}
        known = [size for size in map(self._sizes.get, files) if size is not None]
        self._before = 0
        self._progress = progress
        self._task = progress.add_task("Importing", total=sum(known) if len(known) == len(files) else None)

    def show(self, position: int) -> None:
        self._progress.update(self._task, completed=self._before + position)

    def next(self, name: str) -> None:
        self._before += self._sizes[name] or 0
        self.show(0)


class _Problems:
    """What could not be read, told above the bar while it runs."""

    def __init__(self, progress: Progress) -> None:
        self._console = progress.console
        self._told = 0

    def tell(self, message: str) -> None:
        from otel_runs.cli.text import many_lines

        self._told += 1
        if self._told <= _MOST_PROBLEMS:
            self._console.print(many_lines(message))

    def tell_rest(self) -> None:
        if self._told > _MOST_PROBLEMS:
            more = self._told - _MOST_PROBLEMS
            self._console.print(
                f"{many(more, 'problem more', 'problems more')} {'is' if more == 1 else 'are'} counted and not shown."
            )
