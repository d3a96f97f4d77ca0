"""The file and folder of an SQLite database."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from otel_runs.errors import StoreAccessError
from otel_runs.store.folder import FILE, FOLDER

_PAGE_SIZE: Final = 8192
_LEFTOVERS: Final = ("-wal", "-shm", "-journal")

FileId = tuple[int, int]


def file_id(path: Path) -> FileId | None:
    """What tells this file from another one of the same path: device and inode. None: there is no file."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def holds_nothing(path: Path) -> bool:
    """Whether there is no file, or an empty one.

    Raises:
        StoreAccessError: it is a directory, or cannot be looked at.
    """
    try:
        found = path.stat()
    except FileNotFoundError:
        return True
    except OSError as exc:
        raise _no_access(path, exc) from exc
    if stat.S_ISDIR(found.st_mode):
        msg = f"{str(path)!r} of the run database is a directory; name a file in it, for instance {str(path / FILE)!r}"
        raise StoreAccessError(msg)
    return found.st_size == 0


@contextmanager
def creating(path: Path, *, timeout: float) -> Iterator[None]:
    """Create the database file with its folder; let no other process create it until the block ends.

    Nothing happens to a file that has been filled in the meantime.

    Args:
        path: absolute.
        timeout: seconds to wait for whoever uses the new file already.

    Raises:
        StoreAccessError: the folder or file cannot be made.
    """
    _make_folder(path.parent)
    with _folder_lock(path.parent):
        if holds_nothing(path):
            _create(path, timeout)
        yield


def _create(path: Path, timeout: float) -> None:
    # A write-ahead log whose database was deleted would be replayed into the new one.
    for suffix in _LEFTOVERS:
        with contextlib.suppress(OSError):
            path.with_name(path.name + suffix).unlink()
    with closing(sqlite3.connect(path, timeout=timeout)) as connection:
        connection.execute(f"PRAGMA page_size = {_PAGE_SIZE}")
        # Kept in the file: readers and the writer do not wait for each other. Where the file system cannot share
        # memory, SQLite stays in its own mode, and all works, slower.
        connection.execute("PRAGMA journal_mode = WAL")


def _make_folder(folder: Path) -> None:
    try:
        ours = folder.name == FOLDER and not folder.exists()
        folder.mkdir(parents=True, exist_ok=True)
        if ours:
            (folder / ".gitignore").write_text("*\n")
    except OSError as exc:
        raise _no_access(folder, exc) from exc


def _no_access(path: Path, exc: OSError) -> StoreAccessError:
    return StoreAccessError(
        f"{str(path)!r} of the run database cannot be made or read ({exc.strerror}); permit it (chmod u+rwx on the "
        "folder above) or name another database (--db, OTEL_RUNS_DB)"
    )


if sys.platform == "win32":

    @contextmanager
    def _folder_lock(folder: Path) -> Iterator[None]:  # noqa: ARG001  as the other _folder_lock
        """Nothing: an open file cannot be deleted there, and SQLite's own locks do for the rest."""
        yield

else:
    import fcntl

    @contextmanager
    def _folder_lock(folder: Path) -> Iterator[None]:
        """A lock on the folder itself, which leaves no file behind; where that is not possible, none."""
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            with contextlib.suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)
