"""The commands: their names, options and help. What each does is in its own module, imported when it is asked for.

So ``otel-runs --help`` and the completion of a command's name load neither SQLAlchemy nor the rest.
"""

from __future__ import annotations

from typing import Annotated, Final, cast

import typer

from otel_runs.cli import completion
from otel_runs.cli.exec import exec_command
from otel_runs.cli.group import ErrorsToExitCodes
from otel_runs.cli.importing import import_command
from otel_runs.cli.options import Database
from otel_runs.cli.reap import reap_command
from otel_runs.cli.replay import replay_command
from otel_runs.cli.serve import serve_command
from otel_runs.cli.usage import PlainUsage
from otel_runs.query.results import MODEL_ORDERS, ModelOrder
from otel_runs.records import RUN_STATUSES

app = typer.Typer(
    cls=ErrorsToExitCodes,
    epilog="The history is the database of --db, of OTEL_RUNS_DB, or .otel_runs/runs.db of the project you are in.",
    no_args_is_help=True,
    # Plain help: no markup to be misread in it, and no rich to load (older typer loads it all the same).
    rich_markup_mode=None,
    # Errors of ours are printed by the class above. Others are defects, and their plain traceback says most.
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
db_app = typer.Typer(help="Look after the run database.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(db_app, name="db")

POLL_SECONDS: Final = 0.5
_MOST_ROWS: Final = 2**31 - 1
"""What every database takes as a limit, and no history reaches."""
_LONGEST_INTERVAL: Final = 86400
Interval = Annotated[
    float | None,
    typer.Option(
        "--interval",
        min=0.1,
        max=_LONGEST_INTERVAL,
        metavar="SECONDS",
        help=f"Time between two looks at the database. Default: {POLL_SECONDS:g}; longer where a look takes long.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON with all columns instead of a table.")]


def _print_version(wanted: bool) -> None:  # noqa: FBT001  typer calls it with the option's value
    if wanted:
        from otel_runs import __version__

        typer.echo(f"otel-runs {__version__}")
        raise typer.Exit


def _known_statuses(given: list[str] | None) -> list[str]:
    # Older typer calls this with None, and takes no None back.
    statuses = given or []
    for status in statuses:
        if status not in RUN_STATUSES:
            msg = f"{status!r} is not a status of a run; expected one of: {', '.join(RUN_STATUSES)}"
            raise typer.BadParameter(msg)
    return statuses


def _known_order(order: str) -> str:
    if order not in MODEL_ORDERS:
        msg = f"{order!r} is not an order; expected one of: {', '.join(MODEL_ORDERS)}"
        raise typer.BadParameter(msg)
    return order


@app.callback()
def otel_runs(
    context: typer.Context,
    *,
    db: Database = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Run history you can query, from plain OpenTelemetry traces."""
    del version  # its callback has seen to it
    context.obj = db


@app.command()
def tail(
    context: typer.Context,
    *,
    limit: Annotated[
        int,
        typer.Option(
            "-n", "--n", min=1, max=_MOST_ROWS, metavar="N", show_default=False, help="How many runs. Default: 10."
        ),
    ] = 10,
    status: Annotated[
        list[str] | None,
        typer.Option(
            "--status",
            metavar="STATUS",
            callback=_known_statuses,
            autocompletion=completion.statuses,
            help=f"Only runs with this status; may be given several times. One of: {', '.join(RUN_STATUSES)}.",
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            "--name",
            metavar="NAME",
            autocompletion=completion.names,
            help="Only runs of this name; * stands for any text.",
        ),
    ] = None,
    env: Annotated[
        str | None,
        typer.Option(
            "--env", metavar="ENV", autocompletion=completion.environments, help="Only runs in this environment."
        ),
    ] = None,
    nested: Annotated[bool, typer.Option("--all", help="List runs nested in other runs, too.")] = False,
    follow: Annotated[
        bool, typer.Option("-f", "--follow", help="Stay and print runs that start or change, until Ctrl-C.")
    ] = False,
    interval: Interval = None,
    timeout: Annotated[
        float | None,
        typer.Option("--timeout", min=0, metavar="SECONDS", help="With --follow: stop by itself after so long."),
    ] = None,
    json: Json = False,
    db: Database = None,
) -> None:
    """List the last runs, the newest at the bottom. Times are UTC.

    Steps, tokens and environment are listed where the terminal is wide enough; a narrow one has no room for rows, start
    and duration either. A running run shows its time so far. With --follow, a run is printed again when its status
    changes, and --json prints one object a line. A database that goes away is waited for. Ctrl-C ends --follow with
    exit code 0.
    """
    from otel_runs.cli.tail import Staying, Tail, run_tail

    for option, given in (("--timeout", timeout), ("--interval", interval)):
        if given is not None and not follow:
            msg = f"{option} belongs to --follow; add --follow, or leave {option} out"
            raise typer.BadParameter(msg)
    asked = Tail(limit, tuple(status or ()), name, env, nested, json)
    run_tail(db or context.obj, asked, Staying(interval or POLL_SECONDS, timeout) if follow else None)


@app.command(cls=PlainUsage, short_help="Show one run, with the tree of its steps.")
def show(
    context: typer.Context,
    run_id: Annotated[
        str | None,
        typer.Argument(
            metavar="ID",
            autocompletion=completion.run_ids,
            help="The run's id or the beginning of it, a trace id, or your own id of the run. Default: the latest run.",
        ),
    ] = None,
    *,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit",
            min=0,
            max=_MOST_ROWS,
            metavar="N",
            help="The most steps to show, failed ones first; 0 for all. Default: 200, with --json all.",
        ),
    ] = None,
    exit_status: Annotated[
        bool,
        typer.Option(
            "--exit-status", help="Exit with 3 if the run failed or was cancelled, with 4 if it has not ended."
        ),
    ] = False,
    json: Json = False,
    db: Database = None,
) -> None:
    """Show one run: what it did, the tree of its steps with their place in time, and its error.

    Nested runs are branches of the tree. The id of a nested run in the tree is the beginning of its span id; this
    command takes it, too.
    """
    from otel_runs.cli.show import Show, run_show

    run_show(db or context.obj, Show(run_id, limit, exit_status, json))


@app.command(cls=PlainUsage, short_help="Watch one run until it has ended.")
def watch(
    context: typer.Context,
    run_id: Annotated[
        str | None,
        typer.Argument(
            metavar="ID",
            autocompletion=completion.run_ids,
            help="The run, as show takes it. Default: the run that started last, of those that are running; "
            "without one, the next that starts.",
        ),
    ] = None,
    *,
    interval: Interval = None,
    timeout: Annotated[
        float | None,
        typer.Option("--timeout", min=0, metavar="SECONDS", help="Stop after so long, with exit code 4."),
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print a JSON object a line for each change instead of what people read.")
    ] = False,
    db: Database = None,
) -> None:
    """Watch one run until it has ended: steps done, steps that run now, time so far and time expected.

    What is expected comes from the last 20 successful runs of the same name and environment: the median of their
    times, and the number of steps of the latest. At the end the run is shown as by show. The exit code says how it
    ended: 0 if it completed (degraded, too), 3 if it failed or was cancelled.
    """
    from otel_runs.cli.watch import Watch, run_watch

    run_watch(db or context.obj, Watch(run_id, interval or POLL_SECONDS, timeout, json))


@app.command(short_help="List the models and steps: runs, success, times.")
def models(
    context: typer.Context,
    *,
    sort: Annotated[
        str,
        typer.Option(
            "--sort",
            metavar="ORDER",
            callback=_known_order,
            autocompletion=completion.model_orders,
            show_default=False,
            help=f"What comes first: {', '.join(MODEL_ORDERS)}. Default: path.",
        ),
    ] = "path",
    json: Json = False,
    db: Database = None,
) -> None:
    """List the models and steps: how often they ran, how often they succeeded, how long they took."""
    from otel_runs.cli.models import run_models

    run_models(db or context.obj, cast("ModelOrder", sort), json=json)


app.command(
    "exec",
    cls=PlainUsage,
    # What follows the command's own options belongs to the program that it runs.
    context_settings={"allow_extra_args": True, "allow_interspersed_args": False},
)(exec_command)

app.command("import", cls=PlainUsage)(import_command)
app.command("replay", short_help="Store what waits in the run database's spool.")(replay_command)
app.command("serve", short_help="Receive traces over OTLP, and store their runs.")(serve_command)
app.command("reap", short_help="Declare runs lost that are not heard of any more.")(reap_command)


@app.command()
def demo(context: typer.Context, db: Database = None) -> None:
    """Run a small pipeline over real data, twice, and show its runs."""
    from otel_runs.demo import main

    main(db or context.obj)


@app.command(
    cls=PlainUsage,
    short_help="Tell what is wrong, what it means and what to do.",
    context_settings={"allow_extra_args": True, "allow_interspersed_args": False},
)
def doctor(
    context: typer.Context,
    command: Annotated[
        list[str] | None,
        typer.Argument(metavar="-- PROGRAM [ARGUMENTS]...", help="A program to run and to look into, in its process."),
    ] = None,
    *,
    json: Annotated[
        bool, typer.Option("--json", help="Print JSON: an array of findings, empty if all is well.")
    ] = False,
    db: Database = None,
) -> None:
    """Tell what is wrong with the run database, its spool, the runs in it and the variables of this environment.

    With a program: run it to its end first, and tell what was wrong in its process, too: providers, samplers, contexts.
    Each finding says what it means and what to do. Nothing is changed. Exit code 1 if something is wrong; notes do not
    count.
    """
    from otel_runs.cli.doctor import run_doctor

    run_doctor(db or context.obj, command or [], json=json)


@db_app.command()
def upgrade(context: typer.Context, db: Database = None) -> None:
    """Create the run database, or bring its tables up to date. Loses nothing; safe to repeat."""
    from otel_runs.cli.db import run_upgrade

    run_upgrade(db or context.obj)


@db_app.command(short_help="Say whether the run database is up to date.")
def check(context: typer.Context, db: Database = None) -> None:
    """Say whether the run database can be read and is up to date: exit code 0 if so, 1 if not."""
    from otel_runs.cli.db import run_check

    run_check(db or context.obj)


@db_app.command()
def path(context: typer.Context, db: Database = None) -> None:
    """Print where the run database is, whether it exists or not. Passwords are left out."""
    from otel_runs.cli.db import run_path

    run_path(db or context.obj)
