"""Driver errors become ours, here and nowhere else."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

from sqlalchemy import URL
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from otel_runs.errors import SchemaError, StoreAccessError, StoreError, StoreUnavailableError, StoreValueError
from otel_runs.store.location import shown

SQLITE_LOCKED: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})

# Deadlock, serialization failure, unique violation (two writers insert the same key at once).
_RETRIED_STATES: Final = frozenset({"40P01", "40001", "23505"})
# The connection is lost, or was not made because there are too many.
_CONNECTION_STATES: Final = ("08", "57P", "25P03", "25P04", "53300")


class _Failure(NamedTuple):
    """What an error of a driver means to the user."""

    error: type[StoreError]
    means: str
    """What was wrong and what to do."""


_OTHER: Final = _Failure(StoreError, "failed")
_REFUSED_ROW: Final = _Failure(StoreValueError, "refuses a row: its key is taken, or it cannot hold a value")

_SQLITE_FAILURES: Final[dict[int | None, _Failure]] = {
    sqlite3.SQLITE_BUSY: _Failure(
        StoreUnavailableError,
        "is locked by another process; end its transaction (an open sqlite3 shell, for instance) and try again",
    ),
    sqlite3.SQLITE_LOCKED: _Failure(StoreUnavailableError, "is locked by another connection; try again"),
    sqlite3.SQLITE_FULL: _Failure(StoreUnavailableError, "cannot grow: the disk is full; make room and try again"),
    sqlite3.SQLITE_IOERR: _Failure(StoreUnavailableError, "cannot be read or written: the disk reports an error"),
    sqlite3.SQLITE_CANTOPEN: _Failure(
        StoreAccessError,
        "cannot be opened; its folder must exist, and you need permission to write to both"
        " (chmod u+rw), or name another database (--db, OTEL_RUNS_DB)",
    ),
    sqlite3.SQLITE_READONLY: _Failure(
        StoreAccessError,
        "may not be written by this user; permit it (chmod u+w on the file and its folder)"
        " or name another database (--db, OTEL_RUNS_DB)",
    ),
    sqlite3.SQLITE_NOTADB: _Failure(
        SchemaError, "is not an SQLite database and was left as it is; name another file (--db, OTEL_RUNS_DB)"
    ),
    sqlite3.SQLITE_CORRUPT: _Failure(
        StoreError, "is damaged; move it away (a new one is made) and save its rows with sqlite3's .recover"
    ),
}
_SQLITE_FAILURES.update(
    dict.fromkeys((sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_TOOBIG), _REFUSED_ROW)
)
_SQLITE_FAILURES[sqlite3.SQLITE_PERM] = _SQLITE_FAILURES[sqlite3.SQLITE_READONLY]
_SQLITE_FAILURES[sqlite3.SQLITE_AUTH] = _SQLITE_FAILURES[sqlite3.SQLITE_READONLY]

_UNREACHABLE: Final = _Failure(StoreUnavailableError, "cannot be reached; check that the server runs and try again")
_CUT_OFF: Final = _Failure(
    StoreUnavailableError,
    "ended a transaction that took longer than it allows; try again, or raise the limit for this user"
    " (idle_in_transaction_session_timeout, transaction_timeout)",
)
_CROWDED: Final = _Failure(
    StoreUnavailableError,
    "has too many connections; try again, or let it, this user or this database have more (max_connections,"
    " CONNECTION LIMIT)",
)
_REFUSED: Final = _Failure(StoreAccessError, "refuses this user; check name, password and permissions")
_UNKNOWN_TABLES: Final = _Failure(SchemaError, "lacks a table or column; run: otel-runs db check")
_BAD_OPTION: Final = _Failure(StoreAccessError, "refuses an option; correct ?options= in the URL")
_NO_SCHEMA: Final = _Failure(SchemaError, "has no such schema; check search_path in the URL")
_OVERLOADED: Final = _Failure(StoreUnavailableError, "cannot do it now; try again")

# By class (two characters) or state (five) of https://www.postgresql.org/docs/current/errcodes-appendix.html
_POSTGRESQL_FAILURES: Final[dict[str, _Failure]] = {
    "08": _UNREACHABLE,
    "57P": _UNREACHABLE,
    "28": _REFUSED,
    "42501": _REFUSED,
    "3D000": _Failure(StoreAccessError, "does not exist; create it (createdb) or correct the URL"),
    "25P03": _CUT_OFF,
    "25P04": _CUT_OFF,
    "25006": _Failure(StoreAccessError, "is read-only; name the primary server"),
    "42P01": _UNKNOWN_TABLES,
    "42703": _UNKNOWN_TABLES,
    "3F000": _NO_SCHEMA,
    "53300": _CROWDED,
    "53": _OVERLOADED,
    "40": _OVERLOADED,
    "55P03": _OVERLOADED,
    "22": _REFUSED_ROW,
    "23": _REFUSED_ROW,
    "54": _REFUSED_ROW,
    "57014": _OVERLOADED,
}
# While a connection is made libpq gives no state, only the server's sentence; psycopg 3.2.1 also where one is ended.
_CONNECT_FAILURES: Final = (
    ("due to idle-in-transaction timeout", _CUT_OFF),
    ("due to transaction timeout", _CUT_OFF),
    # Before those that name a role: 'too many connections for role "ada"'.
    ("too many connections", _CROWDED),
    ("too many clients already", _CROWDED),
    ("remaining connection slots are reserved", _CROWDED),
    ("no more connections allowed", _CROWDED),  # PgBouncer
    ('role "', _REFUSED),
    ("invalid value for parameter", _BAD_OPTION),
    ("unrecognized configuration parameter", _BAD_OPTION),
    ("does not exist", _POSTGRESQL_FAILURES["3D000"]),
    ("authentication", _REFUSED),
    ("no password supplied", _REFUSED),
    ("pg_hba.conf", _REFUSED),
    ("permission denied", _REFUSED),
)


@contextmanager
def translated_errors(url: URL) -> Iterator[None]:
    """Turn errors of SQLAlchemy and the drivers into ours; all others pass.

    Args:
        url: the database, for the message; secrets are left out.

    Raises:
        StoreError: or the subclass that says what to do; its ``__cause__`` is the driver's error.
    """
    try:
        yield
    except PoolTimeoutError as exc:
        msg = f"run database {shown(url)}: all connections of this process are in use; try again"
        raise StoreUnavailableError(msg) from exc
    except Exception as exc:
        driver = driver_error(exc)
        if isinstance(exc, StoreError) or not _from_driver(driver):
            raise
        failure = _failure_of(driver)
        said = str(driver).strip().partition("\n")[0]
        msg = f"run database {shown(url)} {failure.means} ({said})"
        raise failure.error(msg) from driver


def driver_error(error: BaseException) -> BaseException:
    """The driver's error inside one of ours or SQLAlchemy's; the error itself if there is none."""
    if isinstance(error, StoreError) and error.__cause__ is not None:
        error = error.__cause__
    if isinstance(error, DBAPIError) and error.orig is not None:
        return error.orig
    return error


def sqlite_code(error: BaseException) -> int | None:
    """SQLite's primary result code; None if the error is not SQLite's own."""
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


def postgresql_transient(error: BaseException) -> bool:
    """Whether PostgreSQL's documentation or experience tells to run the transaction again."""
    if not _from_psycopg(error):
        return False
    state = _sqlstate(error)
    if state is None:
        # No state: the connection broke or was not made, and it was not a refusal.
        return _failure_of(error) in {_UNREACHABLE, _CUT_OFF, _CROWDED}
    return state in _RETRIED_STATES or state.startswith(_CONNECTION_STATES)


def _from_driver(error: BaseException) -> bool:
    return isinstance(error, sqlite3.Error) or _from_psycopg(error)


def _from_psycopg(error: BaseException) -> bool:
    # psycopg is an extra; an error of its can only come where it has been imported. NotImplementedError is what it
    # raises of a value that it cannot read, such as a time in another DateStyle than ISO.
    psycopg: Any = sys.modules.get("psycopg")
    return psycopg is not None and isinstance(error, psycopg.Error | NotImplementedError)


def _sqlstate(error: BaseException) -> str | None:
    state: str | None = getattr(error, "sqlstate", None)
    return state


def _failure_of(error: BaseException) -> _Failure:
    if isinstance(error, sqlite3.Error):
        said = str(error)
        if said.startswith(("no such table", "no such column")) or " has no column named " in said:
            return _UNKNOWN_TABLES
        if said.startswith("Error binding parameter"):
            return _REFUSED_ROW
        return _SQLITE_FAILURES.get(sqlite_code(error), _OTHER)
    state = _sqlstate(error)
    if state is not None:
        known = (_POSTGRESQL_FAILURES.get(state[:length]) for length in (5, 3, 2))
        return next((failure for failure in known if failure is not None), _OTHER)
    if type(error).__name__ == "DataError":  # psycopg's own: text with NUL, a number too wide for its type
        return _REFUSED_ROW
    if type(error).__name__ not in {"OperationalError", "ConnectionTimeout", "InterfaceError"}:
        return _OTHER
    said = str(error)
    return next((failure for mark, failure in _CONNECT_FAILURES if mark in said), _UNREACHABLE)
