"""What a server's process takes, as the kernel counts it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

_TICKS = os.sysconf("SC_CLK_TCK")
_PARENT = 1
_UTIME = 11  # fields of /proc/PID/stat after the command's name, which may hold blanks
_MEGABYTE = 1024 * 1024


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

    @property
    def ids(self) -> list[int]:
        """Its own, and those of its children now."""
        return list(self._stats())

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


def resident_megabytes(processes: Iterable[int]) -> float:
    """What processes hold now. What forks share is counted for each.

    Memory that is of no file, added up; and of files, which bystanders map as well, the resident pages of the process
    that has most: the others map a part of them.
    """
    anonymous, of_files = 0, [0]
    for process in processes:
        file = Path(f"/proc/{process}/status")
        try:
            anonymous += _kilobytes(file, "RssAnon:")
            of_files.append(_kilobytes(file, "RssFile:"))
        except OSError:  # it has ended meanwhile
            continue
    return (anonymous + max(of_files)) * 1024 / _MEGABYTE


def shared_megabytes(processes: Iterable[int]) -> float:
    """What ``resident_megabytes`` counts more than once. It shrinks as a process lives.

    Not for a server under load: the kernel looks at each page, 5 ms a process, ten times a second a tenth of a core.
    """
    shared = 0
    for process in processes:
        file = Path(f"/proc/{process}/smaps_rollup")
        shared += _kilobytes(file, "Anonymous:") - _kilobytes(file, "Pss_Anon:")
    return shared * 1024 / _MEGABYTE


def _kilobytes(file: Path, name: str) -> int:
    return int(next(line for line in file.read_text().splitlines() if line.startswith(name)).split()[1])
