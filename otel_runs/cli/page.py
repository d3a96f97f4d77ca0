"""A run as a page of HTML, with what ``otel-runs show`` prints: where a link from a trace leads."""

from __future__ import annotations

import io
from html import escape
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.terminal_theme import MONOKAI

from otel_runs.cli.history import find_history, nothing_yet
from otel_runs.cli.show import STEPS_SHOWN, print_run
from otel_runs.errors import NotFoundError
from otel_runs.query.runs import get_run
from otel_runs.query.tree import get_run_tree
from otel_runs.records import TERMINAL_RUN_STATUSES

if TYPE_CHECKING:
    from otel_runs.query.results import RunTree

WIDTH: Final = 120
"""Characters of a line."""
REFRESH_SECONDS: Final = 5
"""Between two looks at a run that goes on."""

# In braces what Rich fills in; between percent signs what we do.
_PAGE: Final = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">%refresh%
<title>%title%</title>
<style>
{stylesheet}
body {{ color: {foreground}; background-color: {background}; }}
pre {{ font-family: ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; }}
a {{ color: inherit; }}
</style>
</head>
<body><pre>{code}</pre></body>
</html>
"""


def run_page(url: str | None, run_id: str) -> str:
    """The page of one run.

    Args:
        url: of the run database, as ``find_history`` takes it.
        run_id: as ``get_run`` takes it: an id, its beginning, or a trace id.

    Raises:
        NotFoundError: there is no such run.
        AmbiguousIdError: there are several.
        StoreError: the database could not be read.
    """
    database = find_history(url)
    if database is None:
        raise NotFoundError(nothing_yet(url))
    with database:
        return _page(get_run_tree(database, get_run(database, run_id), limit=STEPS_SHOWN))


def _page(tree: RunTree) -> str:
    console = Console(
        record=True,
        width=WIDTH,
        file=io.StringIO(),
        force_terminal=True,
        color_system="truecolor",
        highlight=False,
        markup=False,
        emoji=False,
        legacy_windows=False,
    )
    print_run(tree, console)
    goes_on = tree.run.status not in TERMINAL_RUN_STATUSES
    refresh = f'\n<meta http-equiv="refresh" content="{REFRESH_SECONDS}">' if goes_on else ""
    title = escape(f"{tree.run.name}: {tree.run.status}").replace("{", "{{").replace("}", "}}")
    code_format = _PAGE.replace("%refresh%", refresh).replace("%title%", title)
    return console.export_html(theme=MONOKAI, code_format=code_format)
