"""``otel-runs replay``: what waits in the spool of a run database or an OTLP endpoint, to where it was meant to go."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Final

import typer

from otel_runs.amounts import many
from otel_runs.cli import exits
from otel_runs.cli.options import Database

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from otel_runs.export.spooling import Beside
    from otel_runs.spool.replay import Replayed, Save
    from otel_runs.spool.spool import Spool
    from otel_runs.spool.status import Status

_ADDRESS: Final = re.compile(r"[\w+.-]+://.+|[^:/]+:\d+(/.*)?")
"""Of an endpoint. ``host:4317`` is what exporters over gRPC take as well."""


def replay_command(
    context: typer.Context,
    *,
    otlp_endpoint: Annotated[
        str | None,
        typer.Option(
            "--otlp-endpoint",
            metavar="URL",
            help="The OTLP endpoint whose spool it is, instead of a database, named as pipelines name it.",
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print what became of the spool as JSON.")] = False,
    db: Database = None,
) -> None:
    """Store what waits in the run database's spool: spans of pipelines that could not reach it.

    The next pipeline does so by itself; this does it now. Safe to repeat and to stop. What a running pipeline is still
    writing is left to that pipeline. What the database will never take is put in quarantine, with the reason. Where
    pipelines store nothing themselves, what waits for their OTLP endpoint is sent there: with --otlp-endpoint, or if
    OTEL_RUNS_DB is none, to the endpoint of the standard variables.
    """
    if otlp_endpoint is not None and (db or context.obj):
        msg = "--otlp-endpoint and --db name two destinations; give the one whose spool is meant"
        raise typer.BadParameter(msg)
    run_replay(db or context.obj, otlp_endpoint, json=json)


def run_replay(url: str | None, endpoint: str | None, *, json: bool) -> None:
    """Replay the spool and say what became of it.

    Args:
        url: the run database.
        endpoint: an OTLP endpoint instead.
        json: print JSON.

    Raises:
        SettingsError: the URL or a setting of the spool cannot be used, or the spool is off.
        StoreError: the database did not take the spans; what was stored before stays, and so does the spool.
        EndpointError: the same of the endpoint.
        typer.Exit: with exit code 1 where something waits still, or was put in quarantine.
    """
    from otel_runs import settings
    from otel_runs.cli.output import complain, hint, print_json, stdout
    from otel_runs.errors import SettingsError
    from otel_runs.export.spooling import spools_beside
    from otel_runs.spool.replay import replay
    from otel_runs.spool.status import status

    destination = _destination(url, endpoint)
    if destination is None:
        said = settings.read(settings.SPOOL)
        msg = f"OTEL_RUNS_SPOOL is {said}; set it to the folder that holds the spool, or unset it"
        raise SettingsError(msg)
    spool, opening = destination
    before = status(spool.folder)
    done = _nothing()
    if before.files:
        with opening() as save:
            done = _with_bar(replay(spool, save), before.spans)
    left = status(spool.folder)
    if json:
        left_over = {"left_files": left.files, "left_spans": left.spans, "folder": str(spool.folder)}
        print_json({**done._asdict(), **left_over})
    else:
        stdout().print(_summary(done, left), soft_wrap=True)
    for other in spools_beside(spool):
        hint(_about(other))
    if done.quarantined:
        complain(f"what can never be stored is in {spool.quarantine_folder}, with the reasons")
    if done.quarantined or left.files:
        raise typer.Exit(exits.ERROR)


def _destination(
    url: str | None, endpoint: str | None
) -> tuple[Spool, Callable[[], AbstractContextManager[Save]]] | None:
    """The spool that is meant, and the way to where its spans go; None if it is off."""
    from otel_runs import settings
    from otel_runs.export import spooling
    from otel_runs.store.folder import NO_DATABASE

    spooling.check_settings()
    if endpoint is None and (url or settings.read(settings.DB)) != NO_DATABASE:
        spool = spooling.spool_of_database(url)
        _require_database(url, spool)
        return None if spool is None else (spool, lambda: spooling.into_database(url))
    _require_address(endpoint)
    spool = spooling.spool_of_endpoint(endpoint)
    return None if spool is None else (spool, lambda: _into_endpoint(endpoint, spool.folder))


def _require_database(url: str | None, spool: Spool | None) -> None:
    """Refuse a database that cannot be, where nobody would learn that by opening it: no spans wait for it.

    Raises:
        SettingsError: it cannot.
    """
    from otel_runs import settings
    from otel_runs.errors import SettingsError
    from otel_runs.store.location import database_url, sqlite_path

    path = sqlite_path(database_url(url))
    is_named = bool(url or settings.read(settings.DB))
    if path is not None and is_named and not path.parent.is_dir() and not (spool and spool.holds_files()):
        msg = (
            f"the folder {path.parent} of the run database does not exist, and no spans wait for that database; "
            "expected the path or URL that pipelines name (--db, OTEL_RUNS_DB)"
        )
        raise SettingsError(msg)


def _require_address(endpoint: str | None) -> None:
    """Refuse what is no address of an endpoint.

    Raises:
        SettingsError: it is none.
    """
    from otel_runs.errors import SettingsError
    from otel_runs.store.location import shown

    if endpoint is not None and _ADDRESS.fullmatch(endpoint) is None:
        msg = f"OTLP endpoint {shown(endpoint)!r} is no address; expected http://host:4318, or for gRPC host:4317"
        raise SettingsError(msg)


@contextmanager
def _into_endpoint(endpoint: str | None, folder: Path) -> Generator[Save]:
    from otel_runs.export.otlp import otlp_exporter
    from otel_runs.export.spooled import EndpointError, into_endpoint
    from otel_runs.store.location import shown

    try:
        with into_endpoint(lambda: otlp_exporter(endpoint, takes_unsampled=True)) as save:
            yield save
    except EndpointError as exc:
        which = "of the standard variables" if endpoint is None else shown(endpoint)
        msg = f"the OTLP endpoint {which} takes no spans now; they stay in {folder}. Start it, or correct its address"
        raise EndpointError(msg) from exc


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


def _summary(done: Replayed, left: Status) -> str:
    started = f" and the start of {many(done.started, 'span')}" if done.started else ""
    text = (
        f"Stored {many(done.spans, 'span')}{started} from {many(done.files, 'file')} of the spool {_near(left.folder)}."
    )
    if done.quarantined:
        text += f" Put {many(done.quarantined, 'span or line', 'spans or lines')} in quarantine."
    if left.files:
        text += f" Left {many(left.spans, 'span')} in {many(left.files, 'file')} that others write or replay now."
    return text


def _near(folder: Path) -> Path:
    """The folder as one may call it from here."""
    from pathlib import Path

    try:
        return folder.relative_to(Path.cwd())
    except (ValueError, OSError):  # it is elsewhere, or "here" is gone
        return folder


def _about(other: Beside) -> str:
    option = "--otlp-endpoint" if other.is_endpoints else "--db"
    return (
        f"{other.folder} holds {many(other.files, 'file')} for another URL; replay with {option} URL, as it was when "
        "the spans were kept. If that URL was wrong: otel-runs import them."
    )
