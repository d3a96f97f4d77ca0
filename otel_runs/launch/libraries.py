"""Library instrumentations: turned on where they are installed, and their spans made model runs."""

from __future__ import annotations

import logging
import os
from importlib.metadata import EntryPoint, entry_points
from typing import Final

from opentelemetry.context import Context
from opentelemetry.sdk.trace import Span, SpanProcessor
from opentelemetry.trace import SpanKind

from otel_runs import attributes

logger = logging.getLogger(__name__)

_SCOPE_PREFIX: Final = "opentelemetry.instrumentation."
_DATABASES: Final = frozenset(
    {
        "aiopg",
        "asyncpg",
        "cassandra",
        "elasticsearch",
        "mysql",
        "mysqlclient",
        "psycopg",
        "psycopg2",
        "pymongo",
        "pymssql",
        "pymysql",
        "redis",
        "sqlalchemy",
        "sqlite3",
    }
)
"""Instrumentations whose CLIENT spans are queries. Most set ``db.system`` only after the start."""


def instrument_libraries() -> None:
    """Turn on every installed instrumentation whose library is installed, too.

    ``OTEL_PYTHON_DISABLED_INSTRUMENTATIONS`` names those to leave out; ``*`` leaves out all.
    """
    excluded = {name.strip() for name in os.environ.get("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", "").split(",")}
    if "*" in excluded:
        return
    for entry_point in entry_points(group="opentelemetry_instrumentor"):
        if entry_point.name not in excluded:
            _instrument(entry_point)


def _instrument(entry_point: EntryPoint) -> None:
    from opentelemetry.instrumentation.dependencies import get_dependency_conflicts

    try:
        instrumentor = entry_point.load()()
        # Asked here, because an instrumentor logs an error where its library is not installed.
        if get_dependency_conflicts(instrumentor.instrumentation_dependencies()) is None:
            instrumentor.instrument(skip_dep_check=True)
    except ModuleNotFoundError:  # some import their library at once, which is not installed
        logger.debug("Instrumentation %r has nothing to instrument", entry_point.name, exc_info=True)
    except Exception as exc:  # noqa: BLE001  the program comes first: it runs without this instrumentation
        logger.warning("Instrumentation %r could not be turned on: %s: %s", entry_point.name, type(exc).__name__, exc)


class LibrarySpansAreSteps(SpanProcessor):
    """Marks CLIENT spans as queries or steps, which would have no row otherwise.

    For a process that is the run and names no functions: then what its libraries do is all there is to see.
    """

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:  # noqa: ARG002  the SDK's signature
        """Mark the span while it can still be written."""
        if span.kind is not SpanKind.CLIENT or (span.attributes and attributes.KIND in span.attributes):
            return
        span.set_attribute(attributes.KIND, "query" if _is_query(span) else "step")


def _is_query(span: Span) -> bool:
    given = span.attributes or {}
    scope = span.instrumentation_scope
    library = scope.name.removeprefix(_SCOPE_PREFIX) if scope is not None else ""
    return "db.system.name" in given or "db.system" in given or library in _DATABASES
