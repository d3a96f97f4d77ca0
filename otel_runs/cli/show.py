"""``otel-runs show``: one run with its steps and its error."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple

import typer
from rich.console import Group
from rich.panel import Panel
from rich.text import Text

from otel_runs.cli import exits
from otel_runs.cli.branches import branches
from otel_runs.cli.details import grid, sections
from otel_runs.cli.history import find_history, nothing_yet
from otel_runs.cli.output import fields, marks, print_json, put, stdout
from otel_runs.cli.statuses import style_of
from otel_runs.cli.steps import step_lines
from otel_runs.cli.tail import seconds_of
from otel_runs.cli.text import count, many_lines, one_line
from otel_runs.cli.timeline import Interval, interval
from otel_runs.errors import NotFoundError
from otel_runs.query.filters import RunFilters
from otel_runs.query.runs import get_run, latest_run
from otel_runs.query.tree import get_run_tree
from otel_runs.records import TERMINAL_RUN_STATUSES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console, RenderableType

    from otel_runs.cli.branches import Branch
    from otel_runs.query.results import RunTree, StoredRun

STEPS_SHOWN: Final = 200
ERRORS_SHOWN: Final = 3
PLAIN_WIDTH: Final = 120
"""Characters of a line of the tree where the output is no terminal."""

_TOP_LEVEL: Final = RunFilters(top_level=True)
_STACK_FRAME: Final = re.compile(r'^ +File ".*?", line \d+.*$', re.MULTILINE)


class Show(NamedTuple):
    """What was asked for."""

    run_id: str | None
    """None: the latest run."""
    limit: int | None
    """The most steps; 0: all; None: the default."""
    exit_status: bool
    json: bool


def run_show(url: str | None, asked: Show) -> None:
    """Show one run.

    Raises:
        NotFoundError: there is no such run.
        AmbiguousIdError: there are several.
        StoreError: the database could not be read.
        typer.Exit: with the exit code that says how the run ended, where that was asked for.
    """
    database = find_history(url)
    if database is None:
        raise NotFoundError(nothing_yet(url))
    with database:
        run = latest_run(database, _TOP_LEVEL) if asked.run_id is None else get_run(database, asked.run_id)
        tree = get_run_tree(database, run, limit=_limit(asked))
    if asked.json:
        print_json(_json(tree))
    else:
        print_run(tree)
    if asked.exit_status:
        raise typer.Exit(exit_code_of(run))


def _limit(asked: Show) -> int | None:
    if asked.limit is None:
        return None if asked.json else STEPS_SHOWN
    return asked.limit or None


def exit_code_of(run: StoredRun) -> int:
    """The exit code that says how a run ended, or that it has not."""
    if run.status not in TERMINAL_RUN_STATUSES:
        return exits.RUN_NOT_ENDED
    return exits.RUN_FAILED if run.status in {"failed", "cancelled"} else exits.OK


def _json(tree: RunTree) -> dict[str, object]:
    return {
        **tree.run._asdict(),
        "nested_runs": fields(tree.nested_runs),
        "model_runs": fields(tree.model_runs),
        "hidden_runs": tree.hidden_runs,
        "hidden_model_runs": tree.hidden_model_runs,
        "hidden_failures": tree.hidden_failures,
    }


def print_run(tree: RunTree, console: Console | None = None) -> None:
    """Print a run with its steps and its error; without a console, on standard output."""
    console = console or stdout()
    now = datetime.now(UTC)
    _print_details(console, tree.run, now)
    lines = branches(tree, now, marks(console))
    if lines:
        console.print()
        _print_steps(console, tree, lines, now)
    for title, error in _errors(tree):
        console.print()
        _print_framed(console, _error_text(error), title, style_of("failed"))


def _print_details(console: Console, run: StoredRun, now: datetime) -> None:
    parts: list[RenderableType] = []
    for title, details in sections(run, seconds_of(run, now), now, marks(console)):
        if title:
            parts += [Text(), Text(title, style="bold")]
        parts.append(grid(details))
    _print_framed(console, Group(*parts), one_line(run.name), style_of(run.status))


def _print_framed(console: Console, content: RenderableType, title: str, style: str) -> None:
    """A panel on a terminal; a title and the bare content in a file or pipe."""
    if console.is_terminal:
        console.print(Panel(content, title=Text(title, style="bold"), title_align="left", border_style=style))
    else:
        console.print(Text(title))
        put(console, content)


def _print_steps(console: Console, tree: RunTree, lines: list[Branch], now: datetime) -> None:
    width = console.width if console.is_terminal else PLAIN_WIDTH
    for line in step_lines(lines, _whole(tree.run, lines, now), width, marks(console)):
        line.rstrip()
        console.print(line, no_wrap=True, overflow="ignore", crop=False)
    for hidden in _hidden(tree):
        console.print(Text(hidden, style=style_of("running")))


def _whole(run: StoredRun, lines: list[Branch], now: datetime) -> Interval:
    """The time of the run; where steps end after it (they may, in another process), up to the last of them."""
    own = interval(run.started_at, run.completed_at, run.duration_ns, now)
    return Interval(own.start, max(own.end, *(line.step.ran.end for line in lines)))


def _hidden(tree: RunTree) -> Iterator[str]:
    if tree.hidden_model_runs:
        failed = f", {count(tree.hidden_failures)} of them failed" if tree.hidden_failures else ""
        yield f"{count(tree.hidden_model_runs)} more steps are not shown{failed}; --limit 0 shows all."
    if tree.hidden_runs:
        yield f"{count(tree.hidden_runs)} more nested runs are not shown; --limit 0 shows all."


def _errors(tree: RunTree) -> Iterator[tuple[str, str]]:
    """The run's error; where it has none though it did not go well, those of its first failed steps."""
    run = tree.run
    if run.error is not None:
        reason = None if run.stop_reason == "error" else run.stop_reason
        yield f"Error: {one_line(run.error_type or reason or run.name)}", run.error
    elif run.status in {"failed", "degraded", "cancelled"}:
        failed = [step for step in tree.model_runs if step.status == "failed" and step.error is not None]
        for step in failed[:ERRORS_SHOWN]:
            yield f"Error in {one_line(step.name)}: {one_line(step.error_type or step.kind)}", step.error or ""


def _error_text(error: str) -> Text:
    text = Text(many_lines(error.strip()))
    first_line = text.plain.partition("\n")[0]
    text.stylize("bold red", 0, len(first_line))
    text.highlight_regex(_STACK_FRAME, "cyan")
    return text
