"""``otel-runs doctor``: what is wrong, what it means, what to do."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import typer
from rich.padding import Padding
from rich.text import Text

from otel_runs.cli import exits
from otel_runs.cli.output import print_json, stdout
from otel_runs.cli.text import one_line
from otel_runs.doctor.examine import Examined, examine
from otel_runs.doctor.finding import SEVERITIES
from otel_runs.doctor.program import findings
from otel_runs.errors import OtelRunsError
from otel_runs.store.location import database_url, shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from otel_runs.doctor.finding import Finding

_STYLES: Final = {"error": "bold red", "warning": "bold yellow", "note": "bold cyan"}


def run_doctor(url: str | None, command: Sequence[str], *, json: bool) -> None:
    """Examine, and tell what was found, the worst first.

    Args:
        url: the run database.
        command: a program to run and to look into; empty: none.
        json: print JSON.

    Raises:
        StoreError: the database went away meanwhile.
        typer.Exit: with exit code 1 where something is wrong.
    """
    found = list(findings(command, beside_output=json)) if command else []
    found += list(examine(Examined(url, os.environ, datetime.now(UTC))))
    found.sort(key=lambda finding: SEVERITIES.index(finding.severity))
    if json:
        print_json([finding._asdict() for finding in found])
    else:
        _print(stdout(), found, _where(url))
    if any(finding.severity != "note" for finding in found):
        raise typer.Exit(exits.ERROR)


def _where(url: str | None) -> str:
    try:
        return f"the environment and {shown(database_url(url))}"
    except OtelRunsError:
        return "the environment"


def _print(console: Console, found: list[Finding], where: str) -> None:
    for finding in found:
        console.print(
            Text.assemble(
                (finding.severity, _STYLES[finding.severity]), f" [{finding.check}] ", one_line(finding.found)
            ),
            soft_wrap=not console.is_terminal,
        )
        for line in (finding.means, f"Do: {finding.do}"):
            text = Text(one_line(line))
            if console.is_terminal:
                console.print(Padding(text, (0, 0, 0, 2)))
            else:
                console.print(f"  {text.plain}", soft_wrap=True)
    wrong = sum(finding.severity != "note" for finding in found)
    if not wrong:
        console.print(f"Nothing is wrong with {where}.", soft_wrap=True)
