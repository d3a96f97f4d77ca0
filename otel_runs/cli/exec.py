"""``otel-runs exec``: run a program as it is, and record it."""

from __future__ import annotations

from typing import Annotated

import typer

from otel_runs.cli.options import Database
from otel_runs.errors import InstrumentError, SettingsError


def _functions(given: list[str] | None) -> list[str]:
    if given:
        from otel_runs.instrument.rules import parse_target  # loads OpenTelemetry

        try:
            for target in given:
                parse_target(target)
        except InstrumentError as exc:
            raise typer.BadParameter(str(exc)) from exc
    return given or []


def _database(given: str | None) -> str | None:
    """Tell a mistake in an option before the program is started. What a variable says stops no program."""
    from otel_runs.store.folder import NO_DATABASE
    from otel_runs.store.location import database_url

    if given and given != NO_DATABASE:
        try:
            database_url(given)
        except SettingsError as exc:
            raise typer.BadParameter(str(exc), param_hint="--db") from exc
    return given


def exec_command(
    context: typer.Context,
    command: Annotated[
        list[str], typer.Argument(metavar="-- PROGRAM [ARGUMENTS]...", help="The program, as you would start it.")
    ],
    *,
    step: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODULE:FUNCTION",
            callback=_functions,
            help="Functions that are steps, such as 'pkg.mod:load_*'; may be given several times.",
        ),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(metavar="MODULE:FUNCTION", callback=_functions, help="Functions that are models, likewise."),
    ] = None,
    run: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODULE:FUNCTION",
            callback=_functions,
            help="Functions that are runs of their own inside this one, likewise.",
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="The run's name. Default: the name of the script or program.")
    ] = None,
    env: Annotated[str | None, typer.Option(metavar="ENV", help="The run's environment, such as production.")] = None,
    otlp_endpoint: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Send the spans there, too: Jaeger or a Collector."),
    ] = None,
    db: Database = None,
) -> None:
    """Run a program as one run, without changing its code.

    The run ends as the program does: with its exit code, or its signal. Signals sent to otel-runs are passed on, and
    otel-runs ends with the same exit code.

    In a Python program, functions named by --step become steps. Without any, what libraries with an installed
    OpenTelemetry instrumentation do becomes the steps: queries, HTTP calls. Any program that reads TRACEPARENT can add
    steps of its own.
    """
    from otel_runs.launch.command import Wishes, run_command

    wishes = Wishes(
        name, env, _database(db or context.obj), otlp_endpoint, tuple(run or ()), tuple(step or ()), tuple(model or ())
    )
    raise typer.Exit(run_command(command, wishes))
