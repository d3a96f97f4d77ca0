"""Whether this process is a worker: one that may end, or be ended, without an exit handler being run."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

_PF_FORKNOEXEC: Final = 0x40
"""The kernel's mark of a process that was forked and has started no program since. Source: Linux, sched.h."""
_FLAGS: Final = 6
"""Where the marks stand behind the program's name. Source: proc(5), /proc/pid/stat."""


def is_worker() -> bool:
    """Whether this process belongs to a pool, or was forked; asked by what is set up after the fork.

    Pools end their workers with ``os._exit``: those of multiprocessing, of Celery (billiard), of RQ, of Airflow.
    """
    return _is_multiprocessing_child() or _is_fork()


def _is_multiprocessing_child() -> bool:
    process = sys.modules.get("multiprocessing.process")
    if process is None:
        return False
    current = process.current_process()
    # A spawned child imports the pipeline before it knows its parent; multiprocessing itself asks for this mark then.
    # Billiard puts a process of its own in place, which has but a parent's number.
    marks = (getattr(current, name, None) for name in ("_inheriting", "_parent_pid"))
    return process.parent_process() is not None or any(marks)


def _is_fork() -> bool:
    """Whether there has been a fork and no exec; False where the system does not tell."""
    try:
        stat = Path("/proc/self/stat").read_text(encoding="utf-8", errors="replace")
        # The name, in parentheses, may hold blanks and parentheses.
        return bool(int(stat.rpartition(")")[2].split()[_FLAGS]) & _PF_FORKNOEXEC)
    except (OSError, ValueError, IndexError):
        return False
