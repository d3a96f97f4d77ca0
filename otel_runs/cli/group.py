"""The one place where errors of commands become exit codes."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import Any, TextIO

import typer
from typer.core import TyperGroup

from otel_runs.cli import exits
from otel_runs.errors import OtelRunsError


class ErrorsToExitCodes(TyperGroup):
    """A group of commands whose errors of ours end in a message and exit code 1 instead of a traceback.

    So do errors of the system: a full disk below standard output is no defect. A reader that left early ends a command
    without a word; click sees to that.
    """

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command line."""
        try:
            return super().main(*args, **kwargs)
        except OSError as exc:
            from otel_runs.cli.output import complain  # see below

            _let_go_of(sys.stdout)
            with suppress(OSError):
                complain(f"The system refused: {exc}. If it is the output that has no place, make room for it.")
            _let_go_of(sys.stderr)
            sys.exit(exits.ERROR)

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except OtelRunsError as exc:
            # Imported late: it loads rich, and most commands have no error to print.
            from otel_runs.cli.output import complain

            complain(str(exc))
            raise typer.Exit(exits.ERROR) from exc


def _let_go_of(stream: TextIO | None) -> None:
    """What is left in the buffer goes nowhere: at its end Python would try once more, and print a traceback."""
    if stream is not None:
        with suppress(OSError, ValueError):  # there may be no file below it
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            stream.flush()
