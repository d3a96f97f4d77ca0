"""Where the run database is: from a URL, a path, the environment or the working directory to one SQLAlchemy URL."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from otel_runs import settings
from otel_runs.errors import SettingsError
from otel_runs.store.folder import FILE, NO_DATABASE, default_file

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
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+]+:")
_CREDENTIALS: Final = re.compile(r"//.*@", re.DOTALL)
_SECRETS: Final = ("password", "sslpassword", "passfile")


def database_url(url: str | os.PathLike[str] | URL | None = None) -> URL:
    """Say which database is meant.

    Args:
        url: an SQLAlchemy URL, the path of an SQLite file (relative to the working directory, ``~`` is the home
            directory), or None for ``OTEL_RUNS_DB`` and, where that is not set, for ``.otel_runs/runs.db`` in the
            project's directory.

    Returns:
        A URL that names its driver and, for SQLite, an absolute path: it stays the same when the process changes its
        working directory. Nothing is opened or created.

    Raises:
        SettingsError: the URL cannot be read, or names a database or driver that is not supported.
    """
    if url is None:
        url = settings.read(settings.DB)
    if url is None:
        return _sqlite_url(default_file(FILE))
    if isinstance(url, URL):
        return _supported(url)
    text = os.fspath(url)
    if text == NO_DATABASE:
        msg = (
            f"the run database is {text!r}, so runs are stored elsewhere, for instance where the Collector sends them; "
            f"name that database, or a file of this name as ./{text}; {_ALLOWED}"
        )
        raise SettingsError(msg)
    if "://" in text:
        return _supported(_parsed(text))
    if isinstance(url, str) and _SCHEME.match(text):
        # A path of this form would be a file called "sqlite:runs.db"; who writes this means a URL.
        msg = f"database {shown(text)!r} is neither a URL nor a path; {_ALLOWED}"
        raise SettingsError(msg)
    return _sqlite_url(Path(text))


def sqlite_path(url: URL) -> Path | None:
    """The file that a URL from `database_url` names, or None if it is no SQLite database."""
    return Path(url.database or "") if url.get_backend_name() == "sqlite" else None


def shown(url: URL | str) -> str:
    """The URL as text for people: without what is secret, and an SQLite database as its path."""
    if isinstance(url, str):
        # Not read by a parser: everything before the last @ may be a password.
        return _CREDENTIALS.sub("//***@", url).partition("?")[0]
    if url.get_backend_name() == "sqlite":
        return url.database or ""
    query = {key: "***" if key in _SECRETS else value for key, value in url.query.items()}
    return url.set(query=query).render_as_string(hide_password=True)


def _parsed(text: str) -> URL:
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        url = None
    if url is None or "@" in (url.host or ""):
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
    if url.database in {None, "", ":memory:"}:
        msg = (
            "an SQLite database in memory is gone with its connection and nobody else can read it; "
            "give the path of a file, for instance in a temporary folder"
        )
        raise SettingsError(msg)
    if str(url.database).startswith("file:"):
        msg = f"SQLite file URI {url.database!r} is not supported; give the path of the file"
        raise SettingsError(msg)
    return _sqlite_url(Path(str(url.database)), url)


def _sqlite_url(path: Path, url: URL | None = None) -> URL:
    try:
        path = Path(os.path.abspath(path.expanduser()))  # noqa: PTH100 - resolve() would follow a link that may move
    except (RuntimeError, OSError) as exc:
        msg = f"path {str(path)!r} of the run database cannot be made absolute: {exc}; give an absolute path"
        raise SettingsError(msg) from exc
    return URL.create("sqlite", database=str(path), query=url.query if url is not None else {})
