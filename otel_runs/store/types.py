"""Column types that hold one meaning on every database."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, DateTime, Dialect, Text
from sqlalchemy.dialects import sqlite
from sqlalchemy.dialects.postgresql import JSONB, TEXT
from sqlalchemy.types import TypeDecorator, TypeEngine

Json = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
"""JSON; JSONB on PostgreSQL. None is SQL NULL."""


Id = Text().with_variant(TEXT(collation="C"), "postgresql")
"""An id. Of collation C on PostgreSQL: the rows of one trace, whose ids begin alike, are then one range of the key."""


class UtcTime(TypeDecorator[datetime]):
    """An aware UTC time.

    On PostgreSQL ``timestamptz``. On SQLite the text ``YYYY-MM-DD HH:MM:SS.ffffff``: without ``T`` and offset, so that
    it compares with what SQLite's own date functions return.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """SQLite keeps text of a fixed form, all others their own type with time zone."""
        if dialect.name == "sqlite":
            return dialect.type_descriptor(sqlite.DATETIME())  # type: ignore[no-untyped-call]  # SQLAlchemy's own
        return dialect.type_descriptor(DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Convert an aware time to UTC; a naive one is an error."""
        if value is None:
            return None
        if value.tzinfo is None:
            msg = f"time {value!r} has no time zone; expected an aware datetime"
            raise ValueError(msg)
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Give every time its UTC zone."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if dialect.name == "sqlite" else value.astimezone(UTC)
