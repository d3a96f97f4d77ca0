"""``otel-runs replay``: what waits in the spool of a run database into that database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from otel_runs.cli import exits

if TYPE_CHECKING:
    from collections.abc import Iterable

    from otel_runs.spool.replay import Replayed


def replay_command(
    context: typer.Context,
    *,
    json: Annotated[bool, typer.Option("--json", help="Print what became of the spool as JSON.")] = False,
    db: Annotated[
        str | None,
        typer.Option("--db", metavar="URL", help="The run database: an SQLAlchemy URL or the path of an SQLite file."),
    ] = None,
) -> None:
    """Store what waits in the run database's spool: spans of pipelines that could not reach it.

    The next pipeline does so by itself; this does it now. Safe to repeat and to stop. What a running pipeline is still
    writing is left to that pipeline. What the database will never take is put in quarantine, with the reason.
    """
    run_replay(db or context.obj, json=json)


def run_replay(url: str | None, *, json: bool) -> None:
    """Replay the spool and say what became of it.

    Raises:
        SettingsError: the URL or a setting of the spool cannot be used, or the spool is off.
        StoreError: the database did not take the spans; what was stored before stays, and so does the spool.
        typer.Exit: with exit code 1 where something waits still, or was put in quarantine.
    """
    from otel_runs.cli.output import complain, print_json, stdout
    from otel_runs.errors import SettingsError
    from otel_runs.export.spooling import into_database, spool_of_database
    from otel_runs.spool.replay import replay
    from otel_runs.spool.status import status

    spool = spool_of_database(url)
    if spool is None:
        msg = "OTEL_RUNS_SPOOL is off; set it to the folder that holds the spool, or unset it"
        raise SettingsError(msg)
    before = status(spool.folder)
    done = _nothing()
    if before.files:
        with into_database(url) as save:
            done = _with_bar(replay(spool, save), before.spans)
    left = status(spool.folder)
    if json:
        print_json({**done._asdict(), "left_files": left.files, "left_spans": left.spans})
    else:
        stdout().print(_summary(done, left.files, left.spans), soft_wrap=True)
    if done.quarantined:
        complain(f"what can never be stored is in {spool.quarantine_folder}, with the reasons")
    if done.quarantined or left.files:
        raise typer.Exit(exits.ERROR)


def _nothing() -> Replayed:
    from otel_runs.spool.replay import Replayed

    return Replayed()


def _with_bar(parts: Iterable[Replayed], spans: int) -> Replayed:
    """All parts together; how far it is, is shown on standard error while that is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    done = _nothing()
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    progress = Progress(*columns, console=console, transient=True)
    if not console.is_terminal:  # a bar that is disabled still prints an empty line, in older versions of rich
        return sum(parts, done)
    with progress:
        bar = progress.add_task("Replaying", total=spans)
        for part in parts:
            done += part
            progress.update(bar, completed=done.spans + done.started)
    return done


def _summary(done: Replayed, left_files: int, left_spans: int) -> str:
    started = f" and the start of {_many(done.started, 'span')}" if done.started else ""
    text = f"Stored {_many(done.spans, 'span')}{started} from {_many(done.files, 'file')} of the spool."
    if done.quarantined:
        text += f" Put {_many(done.quarantined, 'span or line', 'spans or lines')} in quarantine."
    if left_files:
        text += f" Left {_many(left_spans, 'span')} in {_many(left_files, 'file')} that others write or replay now."
    return text


def _many(number: int, one: str, more: str = "") -> str:
    return f"{number:,} {one if number == 1 else more or f'{one}s'}"
