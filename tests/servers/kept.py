"""A server process that ends with the process that started it, however that one ends.

Run as a program, this file is the keeper: it starts the server and waits until its standard input, a pipe from the
tests' process, is closed, which the kernel does even for a process that is killed. Then it stops the server and removes
the server's folder, unless it was told before that the server will be started again.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TypedDict

_STOP_SECONDS = 10
_STOP, _PAUSE, _KILL = b"", b"pause", b"kill"


class UserIds(TypedDict, total=False):
    """Arguments of `subprocess` that name a user."""

    user: int
    group: int
    extra_groups: list[int]


def as_user(user: int | None) -> UserIds:
    """Arguments of `subprocess` for a process of this user; None: of the same user as this process."""
    return {} if user is None else {"user": user, "group": user, "extra_groups": []}


class KeptServer:
    """A running server.

    Args:
        command: program and arguments.
        folder: the server's own; removed when the server is stopped.
        user: the user id it runs as; None: the one of the tests.
        environ: variables for the server, besides those of the tests.
    """

    def __init__(
        self, command: list[str], *, folder: Path, user: int | None = None, environ: Mapping[str, str] | None = None
    ) -> None:
        self._folder = folder
        arguments = ["" if user is None else str(user), str(folder), *command]
        self._keeper = subprocess.Popen(
            [sys.executable, __file__, *arguments],
            stdin=subprocess.PIPE,
            env=os.environ | dict(environ or {}),
            # Ctrl-C in the terminal is for pytest, which then stops the server in order.
            start_new_session=True,
        )

    @property
    def process_id(self) -> int:
        """Of the server itself, not of its keeper; on Linux."""
        keeper = self._keeper.pid
        (server,) = Path(f"/proc/{keeper}/task/{keeper}/children").read_text().split()
        return int(server)

    def ended(self) -> bool:
        """Whether the server has ended, which it should not by itself."""
        return self._keeper.poll() is not None

    def log(self) -> str:
        """What the server has printed, since its first start."""
        log = self._folder / "server.log"
        return log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""

    def stop(self) -> None:
        """Stop the server in order, wait until it has ended, and remove its folder."""
        self._end(_STOP)

    def pause(self) -> None:
        """Stop the server in order and wait until it has ended; its folder stays for the next start."""
        self._end(_PAUSE)

    def kill(self) -> None:
        """The same by ``kill -9``, which leaves the server no time for anything."""
        self._end(_KILL)

    def _end(self, order: bytes) -> None:
        assert self._keeper.stdin is not None
        self._keeper.stdin.write(order)
        self._keeper.stdin.close()
        self._keeper.wait(timeout=3 * _STOP_SECONDS)


def _keep(user: str, folder: str, *command: str) -> None:
    with Path(folder, "server.log").open("ab") as log:
        server = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **as_user(int(user) if user else None)
        )
    order = _STOP
    try:
        order = sys.stdin.buffer.read()
    finally:
        _stop(server, [signal.SIGKILL] if order == _KILL else [signal.SIGINT, signal.SIGQUIT, signal.SIGKILL])
        if order == _STOP:
            shutil.rmtree(folder, ignore_errors=True)


def _stop(server: subprocess.Popen[bytes], signals: list[signal.Signals]) -> None:
    for stop in signals:
        server.send_signal(stop)
        try:
            server.wait(timeout=_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            continue
        return


if __name__ == "__main__":
    _keep(*sys.argv[1:])
