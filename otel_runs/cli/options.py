"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

Database = Annotated[
    str | None,
    typer.Option("--db", metavar="URL", help="The run database: an SQLAlchemy URL or the path of an SQLite file."),
]
