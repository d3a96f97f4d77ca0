"""Which schema a database has, and how it gets the one of this package."""

from __future__ import annotations

from typing import Final, NamedTuple

from sqlalchemy import Connection, inspect

from otel_runs.errors import NotFoundError, SchemaError
from otel_runs.store import migrations, tables
from otel_runs.store.dialects import Dialect
from otel_runs.store.location import shown
from otel_runs.store.views import VIEWS

_OURS: Final = frozenset({*tables.metadata.tables, *VIEWS})


class SchemaState(NamedTuple):
    """Where a database stands."""

    current: str | None
    """The revision of the database; None: it has none of our tables yet."""
    head: str
    """The revision that this package works with."""

    @property
    def pending(self) -> tuple[str, ...]:
        """Revisions between the database and this package, oldest first."""
        done = 0 if self.current is None else migrations.REVISIONS.index(self.current) + 1
        return migrations.REVISIONS[done:]


def state_of(connection: Connection, dialect: Dialect) -> SchemaState:
    """Read the schema's state; nothing is changed.

    Raises:
        SchemaError: the tables are another program's, or of a newer version of this package.
    """
    names = dialect.relations(connection) if dialect.schema_exists(connection) else frozenset()
    if migrations.VERSION_TABLE in names:
        query = f"SELECT version_num FROM {migrations.VERSION_TABLE}"  # noqa: S608 - a constant
        current = connection.exec_driver_sql(query).scalar()
        if current is not None and current not in migrations.REVISIONS:
            msg = (
                f"run database {shown(connection.engine.url)} was written by a newer otel_runs (revision {current!r}; "
                f"this version knows {', '.join(migrations.REVISIONS)}) and was left as it is; upgrade the package: "
                "pip install --upgrade otel-runs"
            )
            raise SchemaError(msg)
    else:
        current = None
    if current is None and (foreign := sorted(names & _OURS)):
        msg = (
            f"{shown(connection.engine.url)} has tables of another program named {', '.join(foreign)} and was left as "
            "it is; name another database, or on PostgreSQL another schema (?options=-csearch_path%3Dteam_a)"
        )
        raise SchemaError(msg)
    return SchemaState(current, migrations.HEAD)


def require_head(state: SchemaState) -> None:
    """Check that the database can be worked with as it is.

    Raises:
        NotFoundError: there are no tables yet.
        SchemaError: it is of an older version.
    """
    if state.current is None:
        msg = "there is no run history yet; record a run first"
        raise NotFoundError(msg)
    if state.pending:
        msg = f"the run database is at revision {state.current}, this version needs {state.head}: otel-runs db upgrade"
        raise SchemaError(msg)


def upgrade(connection: Connection, dialect: Dialect) -> None:
    """Create or migrate everything, inside the write transaction that the connection is in.

    Any number of processes may do this at once: one works, the others wait and find it done.

    Raises:
        SchemaError: as `state_of`; nothing was changed.
    """
    dialect.lock_schema(connection)
    if not state_of(connection, dialect).pending:
        return
    dialect.create_schema(connection)
    dialect.drop_derived(connection, VIEWS)
    migrations.migrate(connection, dialect.wanted_schema(connection))
    dialect.create_derived(connection, VIEWS)


def missing_parts(connection: Connection, dialect: Dialect) -> tuple[str, ...]:
    """What the revision promises and the database does not have: ``table``, ``table.column``, ``view``, sorted."""
    inspector = inspect(connection)
    names = dialect.relations(connection)
    missing = list(_OURS - names)
    for name, table in tables.metadata.tables.items():
        if name in names:
            found = {column["name"] for column in inspector.get_columns(name)}
            missing += [f"{name}.{column.name}" for column in table.c if column.name not in found]
    return tuple(sorted(missing))
