"""What a server's process takes, as the kernel counts it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

_TICKS = os.sysconf("SC_CLK_TCK")
_UTIME = 11  # fields of /proc/PID/stat after the command's name, which may hold blanks
_MEGABYTE = 1024 * 1024


class Process(NamedTuple):
    """A running process, by its id."""

    id: int

    @property
    def cpu_seconds(self) -> float:
        """User and system, since it was started; without its children."""
        fields = Path(f"/proc/{self.id}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[_UTIME]) + int(fields[_UTIME + 1])) / _TICKS

    @property
    def peak_megabytes(self) -> float:
        """The most memory it has held at once: its peak resident set."""
        lines = Path(f"/proc/{self.id}/status").read_text().splitlines()
        peak = next(line for line in lines if line.startswith("VmHWM:"))
        return int(peak.split()[1]) * 1024 / _MEGABYTE
