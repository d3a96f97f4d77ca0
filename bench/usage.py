"""What a server's process takes, as the kernel counts it."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

_TICKS = os.sysconf("SC_CLK_TCK")
_PARENT = 1
_UTIME = 11  # fields of /proc/PID/stat after the command's name, which may hold blanks
_MEGABYTE = 1024 * 1024
_LOOK_SECONDS = 0.1
"""Between two looks at the memory: each takes half a millisecond a process."""


class Process(NamedTuple):
    """A running process and its children, by its id."""

    id: int

    @property
    def cpu_seconds(self) -> float:
        """User and system, since they were started."""
        return sum(int(fields[_UTIME]) + int(fields[_UTIME + 1]) for fields in self._stats().values()) / _TICKS

    @property
    def peak_megabytes(self) -> float:
        """The most memory that each has held at once, added up: their peak resident sets.

        What several of them share is counted for each.
        """
        return sum(_peak(process) for process in self._stats()) * 1024 / _MEGABYTE

    @contextmanager
    def watched(self) -> Iterator[list[float]]:
        """Adds to a list, again and again, what they hold together, in megabytes: what they share is counted once."""
        found: list[float] = []
        processes = list(self._stats())
        is_over = threading.Event()

        def look() -> None:
            while True:
                found.append(_together(processes) * 1024 / _MEGABYTE)
                if is_over.wait(_LOOK_SECONDS):
                    return

        thread = threading.Thread(target=look)
        thread.start()
        try:
            yield found
        finally:
            is_over.set()
            thread.join()

    def _stats(self) -> dict[int, list[str]]:
        """Process -> its fields in /proc/PID/stat."""
        found = {}
        for file in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = file.read_text().rpartition(")")[2].split()
            except OSError:  # it has ended meanwhile
                continue
            if int(file.parent.name) == self.id or int(fields[_PARENT]) == self.id:
                found[int(file.parent.name)] = fields
        return found


def _peak(process: int) -> int:
    """Kibibytes."""
    return _kilobytes(Path(f"/proc/{process}/status"), "VmHWM:")


def _together(processes: Iterable[int]) -> int:
    """Kibibytes.

    Of memory that is of no file, their proportional sets: only forks share it. Of files, which bystanders map as well,
    the resident pages of the process that has most: the others map a part of them.
    """
    anonymous, of_files = 0, [0]
    for process in processes:
        file = Path(f"/proc/{process}/smaps_rollup")
        try:
            anonymous += _kilobytes(file, "Pss_Anon:")
            of_files.append(_kilobytes(file, "Rss:") - _kilobytes(file, "Anonymous:"))
        except OSError:  # it has ended meanwhile
            continue
    return anonymous + max(of_files)


def _kilobytes(file: Path, name: str) -> int:
    return int(next(line for line in file.read_text().splitlines() if line.startswith(name)).split()[1])
