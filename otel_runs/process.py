"""Which process this is, so that another one on the same machine can tell whether it still lives.

A process id alone says little: ids are used again, after a restart of the machine and by every container. So an
identity names the boot of the machine, the namespace of the process ids, the id, and when the process started.
"""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Final, NamedTuple

_PROC: Final = Path("/proc")
_STATE: Final = 0
_STARTED: Final = 19
"""Positions in /proc/<id>/stat behind the name of the program. Source: proc_pid_stat(5), fields 3 and 22."""
_ENDED: Final = frozenset({"Z", "X", "x"})
"""States of a process that has ended and that its parent has not asked for yet."""


class _Identity(NamedTuple):
    boot: str
    namespace: str
    pid: int
    started: str
    """Ticks of the clock since the machine's boot."""

    def __str__(self) -> str:
        return f"{self.boot}:{self.namespace}:{self.pid}:{self.started}"


def process_identity() -> str | None:
    """The identity of this process on its machine, or None where that cannot be told (anywhere but on Linux).

    Read once a process, also after a fork; then it takes half a microsecond.
    """
    return _identity_of(os.getpid())


@lru_cache(maxsize=1)
def _identity_of(pid: int) -> str | None:
    try:
        if str((_PROC / "self").readlink()) != str(pid):
            return None  # /proc is that of another namespace
        boot = (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        namespace = str((_PROC / "self/ns/pid").stat().st_ino)
        return str(_Identity(boot, namespace, pid, _stat_of(pid)[_STARTED]))
    except (OSError, ValueError, IndexError):
        return None


def is_alive(identity: str | None) -> bool | None:
    """Whether a process lives; a process that is stopped or frozen lives.

    Args:
        identity: what `process_identity` said in that process.

    Returns:
        None where this process cannot know: another machine, another boot of it, another container, not Linux.
    """
    theirs, ours = _read(identity), _read(process_identity())
    if theirs is None or ours is None or (theirs.boot, theirs.namespace) != (ours.boot, ours.namespace):
        return None
    try:
        stat = _stat_of(theirs.pid)
    except (FileNotFoundError, ProcessLookupError):
        return _is_there(theirs.pid)
    except (OSError, ValueError):
        return None
    if stat[_STARTED] != theirs.started:
        return False  # the id is that of another process by now
    if stat[_STATE] in _ENDED:
        return None if _has_threads(theirs.pid) else False
    return True


def pid_of(identity: str | None) -> int | None:
    """The process id that an identity names, for people."""
    known = _read(identity)
    return None if known is None else known.pid


def _read(identity: str | None) -> _Identity | None:
    parts = (identity or "").split(":")
    if len(parts) != len(_Identity._fields) or not parts[2].isdecimal():
        return None
    return _Identity(parts[0], parts[1], int(parts[2]), parts[3])


def _stat_of(pid: int) -> list[str]:
    text = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    # The program's name may hold anything, brackets and blanks too.
    return text[text.rindex(")") + 1 :].split()


def _is_there(pid: int) -> bool | None:
    """What can be said of a process that /proc does not show: it may hide those of other users (hidepid)."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return None
    return None


def _has_threads(pid: int) -> bool:
    """Whether threads of a process outlive its first one, which alone looks ended."""
    try:
        return len(list((_PROC / str(pid) / "task").iterdir())) > 1
    except OSError:
        return False
