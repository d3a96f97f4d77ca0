"""docs/data-model.md: what the page says of tables and columns is what the package creates."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from sqlalchemy import BigInteger, Boolean, Column, Float, Integer, Table, Text
from sqlalchemy.types import TypeEngine

from otel_runs.records import MODEL_RUN_STATUSES, RUN_STATUSES
from otel_runs.store import tables
from otel_runs.store.types import UtcTime

PAGE = Path(__file__).parents[2] / "docs/data-model.md"
PRIVATE_TABLES = {"span_links"}
PRIVATE_COLUMNS = {
    "runs": {"derived", "loose", "process", "lost_at", "marked"},
    "models": {"declared_by"},
    "environments": {"declared_by"},
}
WORDS: list[tuple[type[TypeEngine[Any]], str]] = [
    (UtcTime, "time"),
    (BigInteger, "integer"),
    (Integer, "integer"),
    (Float, "real"),
    (Boolean, "boolean"),
    (Text, "text"),
]
PUBLIC = [table for table in tables.metadata.sorted_tables if table.name not in PRIVATE_TABLES]


class Described(NamedTuple):
    """A column as the page has it."""

    name: str
    type: str


def section(title: str) -> str:
    found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert found, f"no section {title} in {PAGE.name}"
    return found[1]


def first_column(text: str) -> list[str]:
    return re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)


def described(column: Column[object]) -> Described:
    """A column as the page should have it."""
    parts = [next((word for type_, word in WORDS if isinstance(column.type, type_)), "JSON")]
    if column.primary_key:
        parts.append("primary key")
    elif not column.nullable:
        parts.append("not null")
    if column.unique:
        parts.append("unique")
    parts += [f"references `{key.column.table.name}`" for key in column.foreign_keys]
    return Described(column.name, ", ".join(parts))


@pytest.mark.parametrize("table", PUBLIC, ids=lambda table: table.name)
def test_page_describes_every_public_column_in_order(table: Table) -> None:
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \|", section(table.name), re.MULTILINE)
    private = PRIVATE_COLUMNS.get(table.name, set())
    assert [Described(*row) for row in rows] == [described(column) for column in table.c if column.name not in private]


def test_page_names_what_is_not_part_of_the_interface() -> None:
    named = set(re.findall(r"`([\w.]+)`", section("Not part of the interface")))
    assert named == PRIVATE_TABLES | {f"{table}.{column}" for table, of in PRIVATE_COLUMNS.items() for column in of}


def test_page_lists_the_statuses_of_runs_and_of_model_runs() -> None:
    of_runs, of_model_runs = section("Statuses").split("| `model_runs.status` |")
    assert first_column(of_runs) == list(RUN_STATUSES)
    assert first_column(of_model_runs) == list(MODEL_RUN_STATUSES)
