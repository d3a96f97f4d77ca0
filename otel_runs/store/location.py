"""Where the run database is: from a URL, a path, the environment or the working directory to one SQLAlchemy URL."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from otel_runs import settings
from otel_runs.errors import SettingsError
from otel_runs.store.folder import FILE, MEMORY, NO_DATABASE, absolute, default_file, is_no_path, sqlite_file

_DRIVERS: Final = {
    "sqlite": "sqlite",
    "sqlite+pysqlite": "sqlite",
    # Named, because a bare postgresql:// means psycopg2 to SQLAlchemy 2.0 and psycopg to 2.1.
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
}
_ALLOWED: Final = (
    "expected the path of an SQLite file, sqlite:///path/to/runs.db or postgresql://user@host/database"
    " (option --db, argument url or variable OTEL_RUNS_DB)"
)
_CREDENTIALS: Final = re.compile(r"(:/*|//).*@", re.DOTALL)
_PASSWORD: Final = re.compile(r"(password\s*=).*", re.DOTALL | re.IGNORECASE)
_SECRETS: Final = re.compile(r"pass|secret|scram_.*_key", re.IGNORECASE)


def database_url(url: str | os.PathLike[str] | URL | None = None) -> URL:
    """Say which database is meant.

    Args:
        url: an SQLAlchemy URL, the path of an SQLite file (relative to the working directory, ``~`` is the home
            directory), or None for ``OTEL_RUNS_DB`` and, where that is not set, for ``.otel_runs/runs.db`` in the
            project's directory. An empty text is None.

    Returns:
        A URL that names its driver and, for SQLite, an absolute path: it stays the same when the process changes its
        working directory. Nothing is opened or created.

    Raises:
        SettingsError: the URL cannot be read, or names a database or driver that is not supported.
    """
    if url is None or url == "":
        url = settings.read(settings.DB)
    if url is None:
        return _sqlite_url(str(default_file(FILE)))
    if isinstance(url, URL):
        return _supported(url)
    text = os.fspath(url)
    if text == NO_DATABASE:
        msg = (
            f"the run database is {text!r}, so runs are stored elsewhere, for instance where the Collector sends them; "
            f"name that database, or a file of this name as ./{text}; {_ALLOWED}"
        )
        raise SettingsError(msg)
    if text == MEMORY:
        raise _in_memory()
    sqlite = sqlite_file(text)
    if sqlite is not None:
        return _sqlite_url(sqlite.path, make_url(f"sqlite://?{sqlite.query}").query)
    if "://" in text:
        return _supported(_parsed(text))
    if isinstance(url, str) and is_no_path(text):
        # A file could be called "sqlite:runs.db" or "host=db password=secret"; who writes this means something else.
        msg = f"database {shown(text)!r} is neither a URL nor a path; {_ALLOWED}, or the path of this name as ./name"
        raise SettingsError(msg)
    return _sqlite_url(text)


def sqlite_path(url: URL) -> Path | None:
    """The file that a URL from `database_url` names, or None if it is no SQLite database."""
    return Path(url.database or "") if url.get_backend_name() == "sqlite" else None


def shown(url: URL | str) -> str:
    """The URL as text for people: without what is secret, and an SQLite database as its path."""
    if isinstance(url, str):
        # Not read by a parser: everything before the last @ may be a password.
        return _PASSWORD.sub(r"\1***", _CREDENTIALS.sub(r"\1***@", url, count=1).partition("?")[0])
    if url.get_backend_name() == "sqlite":
        return url.database or ""
    query = {key: "***" if _SECRETS.search(key) else value for key, value in url.query.items()}
    return url.set(query=query).render_as_string(hide_password=True)


def _parsed(text: str) -> URL:
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        url = None
    if url is None or "@" in (url.host or "") or _CREDENTIALS.search(url.database or ""):
        # Outside the except block: the parser's message quotes parts of the URL, and may quote the password.
        msg = (
            f"database URL {shown(text)!r} cannot be read; {_ALLOWED}. "
            "Characters such as @, : and / in a password must be percent-encoded"
        )
        raise SettingsError(msg)
    return url


def _supported(url: URL) -> URL:
    driver = _DRIVERS.get(url.drivername)
    if driver is None:
        msg = f"database URL {shown(url)!r} names {url.drivername!r}; {_ALLOWED}"
        raise SettingsError(msg)
    if driver != "sqlite":
        return url.set(drivername=driver)
    if url.database in {None, "", MEMORY}:
        raise _in_memory()
    if str(url.database).startswith("file:"):
        msg = f"SQLite file URI {url.database!r} is not supported; give the path of the file"
        raise SettingsError(msg)
    return _sqlite_url(str(url.database), url.query)


def _in_memory() -> SettingsError:
    return SettingsError(
        "an SQLite database in memory is gone with its connection and nobody else can read it; "
        "give the path of a file, for instance in a temporary folder"
    )


def _sqlite_url(path: str, query: Mapping[str, tuple[str, ...] | str] | None = None) -> URL:
    return URL.create("sqlite", database=absolute(path), query=query or {})
