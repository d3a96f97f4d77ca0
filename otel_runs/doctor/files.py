"""The files of an SQLite database: their size, whose they are, and on what they lie."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from otel_runs.doctor.finding import Finding
from otel_runs.errors import OtelRunsError
from otel_runs.store.location import database_url, sqlite_path

if TYPE_CHECKING:
    from collections.abc import Iterator

LARGE_LOG_BYTES: Final = 64 * 1024 * 1024
"""SQLite folds its log in at 4 MB by itself, where readers let it."""
NETWORK_FILE_SYSTEMS: Final = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "fuse.sshfs", "fuse.s3fs", "glusterfs", "lustre"}
)
_MOUNTS: Final = Path("/proc/self/mounts")
_MEGABYTE: Final = 1024 * 1024


def findings(url: str | None) -> Iterator[Finding]:
    """What is wrong with the files; nothing where the database is no file, or is not there yet."""
    try:
        path = sqlite_path(database_url(url))
    except OtelRunsError:
        return  # told by database.py
    if path is None:
        return
    yield from log(path)
    yield from permissions(path)
    if sys.platform == "linux" and _MOUNTS.exists():
        yield from network(path, _MOUNTS.read_text(encoding="utf-8", errors="replace"))


def log(path: Path) -> Iterator[Finding]:
    """The write-ahead log has grown."""
    beside = path.with_name(f"{path.name}-wal")
    try:
        size = beside.stat().st_size
    except OSError:
        return
    if size > LARGE_LOG_BYTES:
        yield Finding(
            "write-ahead-log",
            "warning",
            f"{beside} has grown to {size // _MEGABYTE:,} MB.",
            "Something reads the database without an end (a shell with an open transaction, a program that keeps a "
            "cursor), so SQLite cannot fold the log in. Reading becomes slower, and the disk fills up.",
            f'End what reads (on Linux: lsof "{path}"), then: sqlite3 "{path}" "PRAGMA wal_checkpoint(TRUNCATE)"',
        )


def permissions(path: Path) -> Iterator[Finding]:
    """The user who asks may read the file, but not write it."""
    if not path.exists():
        return
    closed = [str(each) for each in (path, path.parent) if not os.access(each, os.W_OK)]
    if closed:
        yield Finding(
            "permissions",
            "warning",
            f"You may not write to {' and '.join(closed)}.",
            "Pipelines that run as this user store nothing; SQLite writes to the file, and makes files beside it.",
            "Permit it (chmod u+rwX, or chown), or name another database: OTEL_RUNS_DB",
        )


def network(path: Path, mounts: str) -> Iterator[Finding]:
    """The file lies on another machine's disk.

    Args:
        path: of the database.
        mounts: the text of Linux's ``/proc/self/mounts``.
    """
    kind = _file_system_of(path, mounts)
    if kind in NETWORK_FILE_SYSTEMS:
        yield Finding(
            "network-file-system",
            "warning",
            f"{path} is on a network file system ({kind}).",
            "SQLite's log needs memory that processes share, and locks that hold; between machines there are neither. "
            "Writers of two machines can damage the file.",
            "Put it on a local disk, or use PostgreSQL: docs/database.md",
        )


def _file_system_of(path: Path, mounts: str) -> str:
    """The kind of the file system that holds the path: that of the longest mount point above it."""
    longest, kind = "", ""
    for line in mounts.splitlines():
        fields = line.split(" ")
        if len(fields) < 3:  # noqa: PLR2004  device, mount point, kind
            continue
        # The kernel writes blanks in octal.
        point = fields[1].replace("\\040", " ").replace("\\011", "\t")
        if path.is_relative_to(point) and len(point) >= len(longest):
            longest, kind = point, fields[2]
    return kind
