"""A server process that ends with the process that started it, however that one ends.

Run as a program, this file is the keeper: it starts the server and waits until its standard input, a pipe from the
tests' process, is closed, which the kernel does even for a process that is killed. Then it stops the server and removes
the server's folder.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TypedDict

_STOP_SECONDS = 10


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
        folder: the server's own; removed when the server has ended.
        user: the user id it runs as; None: the one of the tests.
    """

    def __init__(self, command: list[str], *, folder: Path, user: int | None = None) -> None:
        self._folder = folder
        arguments = ["" if user is None else str(user), str(folder), *command]
        self._keeper = subprocess.Popen(
            [sys.executable, __file__, *arguments],
            stdin=subprocess.PIPE,
            # Ctrl-C in the terminal is for pytest, which then stops the server in order.
            start_new_session=True,
        )

    def ended(self) -> bool:
        """Whether the server has ended, which it should not by itself."""
        return self._keeper.poll() is not None

    def stop(self) -> None:
        """Stop the server, wait until it has ended, and remove its folder."""
        assert self._keeper.stdin is not None
        self._keeper.stdin.close()
        self._keeper.wait(timeout=3 * _STOP_SECONDS)


def _keep(user: str, folder: str, *command: str) -> None:
    with Path(folder, "server.log").open("wb") as log:
        server = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **as_user(int(user) if user else None)
        )
    try:
        sys.stdin.buffer.read()
    finally:
        _stop(server)
        shutil.rmtree(folder, ignore_errors=True)


def _stop(server: subprocess.Popen[bytes]) -> None:
    for stop in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
        server.send_signal(stop)
        try:
            server.wait(timeout=_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            continue
        return


if __name__ == "__main__":
    _keep(*sys.argv[1:])
