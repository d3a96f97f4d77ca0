"""A server on ports of its own, which a test may stop, kill and start again."""

from __future__ import annotations

import shutil
import ssl
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import TypeVar
from urllib.error import HTTPError
from urllib.request import urlopen

from tests.servers.kept import KeptServer
from tests.servers.missing import needed

_START_SECONDS = 60


class Service(ABC):
    """What the servers of the Collector path have in common.

    Ports and folder are chosen once, so that the server that is started again is the same to all who know it.
    """

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=f"{type(self).__name__.lower()}-"))
        self._server: KeptServer | None = None

    @abstractmethod
    def command(self) -> list[str]:
        """Program and arguments."""

    @abstractmethod
    def environ(self) -> Mapping[str, str]:
        """Variables for the program."""

    @abstractmethod
    def answers(self) -> bool:
        """Whether the server is ready."""

    def start(self) -> None:
        """Start the server, again or for the first time, and wait until it is ready.

        Raises:
            RuntimeError: it does not become ready; its log says why.
        """
        server = self._server = KeptServer(self.command(), folder=self.folder, environ=self.environ())
        deadline = time.monotonic() + _START_SECONDS
        while not self.answers():
            if time.monotonic() > deadline:
                log = server.log()
                self.stop()
                msg = f"{' '.join(self.command())} is not ready after {_START_SECONDS} s:\n{log[-4000:]}"
                raise RuntimeError(msg)
            time.sleep(0.05)

    def pause(self) -> None:
        """Stop the server in order; its folder stays for the next start."""
        self._running().pause()

    def kill(self) -> None:
        """``kill -9``; its folder stays for the next start."""
        self._running().kill()

    def stop(self) -> None:
        """End the server, if it runs, and remove its folder."""
        if self._server is not None and not self._server.ended():
            self._server.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def log(self) -> str:
        """What the server has printed, since its first start."""
        return self._running().log()

    @property
    def process_id(self) -> int:
        """Of the running server."""
        return self._running().process_id

    def _running(self) -> KeptServer:
        assert self._server is not None, "start it first"
        return self._server


def is_ok(url: str, trusted: ssl.SSLContext | None = None) -> bool:
    """Whether a server answers 200 there."""
    try:
        with urlopen(url, timeout=5, context=trusted) as response:
            return bool(response.status == 200)
    except HTTPError as exc:
        exc.close()
        return False
    except (OSError, HTTPException):
        return False


_S = TypeVar("_S", bound=Service)


@contextmanager
def running(make: Callable[[], _S]) -> Iterator[_S]:
    """A server that runs until the end of the block; without it the test ends here."""
    with needed():
        server = make()
    try:
        server.start()
        yield server
    finally:
        server.stop()
