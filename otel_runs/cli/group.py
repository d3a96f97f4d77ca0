"""The one place where errors of commands become exit codes."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup

from otel_runs.cli import exits
from otel_runs.errors import OtelRunsError


class ErrorsToExitCodes(TyperGroup):
    """A group of commands whose errors of ours end in a message and exit code 1 instead of a traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except OtelRunsError as exc:
            # Imported late: it loads rich, and most commands have no error to print.
            from otel_runs.cli.output import complain

            complain(str(exc))
            raise typer.Exit(exits.ERROR) from exc
