"""The files of a spool: each is written by one process, locked while that lives, and free once it has ended.

A lock (``flock``) belongs to an open file, and the kernel frees it however the process ends. So a file that nobody has
locked is complete as far as it goes, and whoever locks it first may replay it.
"""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from otel_runs.children import call_in_child

SUFFIX: Final = ".jsonl"
_TRIES: Final = 5
_PRIVATE_FILE: Final = 0o600
_PRIVATE_FOLDER: Final = 0o700


class LockedFile:
    """An open file that this process has locked; to close it frees it.

    A forked child closes what it has inherited of it: the lock lasts as long as anybody has the file open.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path: Final = path
        self.size = os.fstat(descriptor).st_size
        """Bytes, as far as it is sound."""
        self._descriptor = descriptor
        self._is_open = True
        call_in_child(self, LockedFile.close)

    def append(self, text: bytes) -> None:
        """Write all of the text, or nothing.

        Raises:
            OSError: there is no room for it, or the disk failed.
        """
        view = memoryview(text)
        try:
            while view:
                view = view[os.write(self._descriptor, view) :]
        except OSError:
            # What comes next must not stand behind half a line.
            os.ftruncate(self._descriptor, self.size)
            raise
        self.size += len(text)

    def is_in_place(self) -> bool:
        """Whether it still is where it was made: nobody has moved or deleted it."""
        return _is_at(self.path, self._descriptor)

    def sync(self) -> None:
        """Wait until the disk has it."""
        os.fsync(self._descriptor)

    def lines(self) -> Iterator[bytes]:
        """What stands in it, line by line; the last one may be cut off.

        Raises:
            OSError: the disk failed.
        """
        # Not a duplicate, which would keep the file locked until the garbage collector finds this generator.
        with os.fdopen(self._descriptor, "rb", closefd=False) as stream:
            yield from stream

    def delete(self) -> None:
        """Remove it. Nobody else can have it open to write: it is locked."""
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Close it, which frees it. May be called twice."""
        if self._is_open:
            self._is_open = False
            os.close(self._descriptor)


def create(folder: Path) -> LockedFile:
    """A new file, whose name begins with the time, so that older ones come first; only this user can read it.

    Raises:
        OSError: it cannot be made.
    """
    make_folder(folder)
    for _ in range(_TRIES):
        path = folder / f"{datetime.now(UTC):%Y%m%dT%H%M%S.%f}-{os.getpid()}-{secrets.token_hex(4)}{SUFFIX}"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND, _PRIVATE_FILE)
        # Between these two calls somebody may have found it empty and free, and removed it.
        if _lock(descriptor) and _is_at(path, descriptor):
            return LockedFile(path, descriptor)
        os.close(descriptor)
    msg = f"no file can be kept in {folder}"
    raise OSError(msg)


def make_folder(folder: Path) -> None:
    """Make a folder, for this user only, that no version control takes in.

    Raises:
        OSError: it cannot be made.
    """
    if folder.is_dir():
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=_PRIVATE_FOLDER, exist_ok=True)
    (folder / ".gitignore").write_text("*\n")


def paths_in(folder: Path, suffix: str = SUFFIX) -> list[Path]:
    """The files of a folder, the oldest first; none where there is no folder."""
    try:
        return sorted(Path(entry.path) for entry in os.scandir(folder) if entry.name.endswith(suffix))
    except FileNotFoundError:
        return []


def bytes_in(folder: Path) -> int:
    """How much the files of a folder hold."""
    total = 0
    with suppress(FileNotFoundError):
        for entry in os.scandir(folder):
            with suppress(FileNotFoundError):  # replayed meanwhile
                total += entry.stat().st_size if entry.name.endswith(SUFFIX) else 0
    return total


def take(path: Path) -> LockedFile | None:
    """The file, locked; None if its process still lives, another one replays it, or it is gone.

    Raises:
        OSError: it cannot be opened.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    if _lock(descriptor) and _is_at(path, descriptor):
        return LockedFile(path, descriptor)
    os.close(descriptor)
    return None


def _is_at(path: Path, descriptor: int) -> bool:
    """Whether the open file is still the one of this name."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


if sys.platform == "win32":

    def _lock(descriptor: int) -> bool:  # noqa: ARG001  as the other _lock
        """Nothing to do: an open file cannot be deleted there, and to replay a file twice changes nothing."""
        return True

else:
    import fcntl

    def _lock(descriptor: int) -> bool:
        """Lock an open file; False where another one has it, or the file system has no locks."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True
