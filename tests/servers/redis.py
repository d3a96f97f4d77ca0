"""A real Redis, for Celery."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Mapping

from tests.servers.missing import ServerMissingError
from tests.servers.ports import free_port
from tests.servers.service import Service

_PONG = b"+PONG"


class Redis(Service):
    """A Redis that keeps everything in memory, on a port of its own.

    Raises:
        ServerMissingError: it is not installed.
    """

    def __init__(self) -> None:
        program = shutil.which("redis-server")
        if program is None:
            msg = "redis-server is not installed: apt-get install redis-server"
            raise ServerMissingError(msg)
        self._program = program
        super().__init__()
        self._port = free_port()

    @property
    def url(self) -> str:
        """For clients."""
        return f"redis://127.0.0.1:{self._port}/0"

    def command(self) -> list[str]:
        settings = {"bind": "127.0.0.1", "port": self._port, "dir": self.folder, "save": "", "appendonly": "no"}
        return [self._program, *(str(part) for name, value in settings.items() for part in (f"--{name}", value))]

    def environ(self) -> Mapping[str, str]:
        return {}

    def answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self._port), timeout=5) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(len(_PONG)) == _PONG
        except OSError:
            return False
