"""Running one program in the foreground: it has our terminal, input and output, and gets the signals sent to us."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals that ask a process to end."""
_FORWARDED: Final = (*ENDING, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
"""What may be meant for the program. Left to their default, these signals would end us and leave the program alone."""
_WATCHED: Final = (*_FORWARDED, signal.SIGCHLD)
_KEYS: Final = (signal.SIGINT, signal.SIGQUIT)
"""What a terminal sends for a key."""
_IGNORED_BY_PYTHON: Final = (signal.SIGPIPE, signal.SIGXFSZ)
"""What Python ignores at its start; a program expects the default."""


class Ending(NamedTuple):
    """How a process ended."""

    exit_code: int | None
    """None: by a signal."""
    signal: signal.Signals | None
    """The signal it died of; or, where it was asked to end by one and said so with 128 + n, that one."""

    @property
    def shell_code(self) -> int:
        """The code a shell would give: 128 + n for a signal."""
        if self.exit_code is not None:
            return self.exit_code
        return 128 + self.signal if self.signal is not None else 1


class Program:
    """One child process.

    Signals are waited for, not handled: they are blocked from ``watch_signals`` on, so none is lost between two steps,
    and no thread of ours can be interrupted by one.
    """

    def __init__(self, command: Sequence[str], environ: Mapping[str, str]) -> None:
        """Start the program.

        Raises:
            OSError: there is no such program, or it may not be executed.
        """
        if not command[0]:  # posix_spawnp would raise a ValueError
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        self._forwarded: set[int] = set()
        # posix_spawn and not subprocess, which cannot unblock signals in the child.
        self._pid = os.posix_spawnp(command[0], list(command), environ, setsigmask=(), setsigdef=_IGNORED_BY_PYTHON)

    def wait(self) -> Ending:
        """Pass signals on until the program has ended."""
        while True:
            pid, status = os.waitpid(self._pid, os.WNOHANG)
            if pid:
                return self._ending(os.waitstatus_to_exitcode(status))
            number, is_from_terminal = _next_signal()
            if number in _FORWARDED:
                self._forwarded.add(number)
                if not is_from_terminal:
                    # A key's signal reaches every process in the foreground, the program among them.
                    os.kill(self._pid, number)

    def _ending(self, code: int) -> Ending:
        if code < 0:
            return Ending(None, signal.Signals(-code))
        asked = code - 128
        return Ending(code, signal.Signals(asked) if asked in self._forwarded else None)


def watch_signals() -> None:
    """Hold back the signals that ``Program.wait`` waits for. Before any thread is started: threads inherit this."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
    # POSIX lets a blocked signal get lost where its action is to do nothing, as it is for SIGCHLD.
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)


def end_like(ending: Ending) -> int:
    """The exit code to end with; dies of the same signal where a shell's loop would stop by it."""
    if ending.exit_code is None and ending.signal is not None and ending.signal in ENDING:
        signal.signal(ending.signal, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (ending.signal,))
        os.kill(os.getpid(), ending.signal)
    return ending.shell_code


def _next_signal() -> tuple[int, bool]:
    """The next signal, and whether it came from the terminal."""
    if hasattr(signal, "sigwaitinfo"):
        info = signal.sigwaitinfo(_WATCHED)
        return info.si_signo, info.si_pid == 0
    number = signal.sigwait(_WATCHED)  # macOS does not tell the sender
    return number, number in _KEYS and os.isatty(0)
