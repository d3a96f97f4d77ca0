"""How many bytes requests may take in memory, all together."""

from __future__ import annotations

import threading
from typing import Self

from otel_runs.errors import OverloadedError


class Room:
    """What requests take: while they arrive, wait, and are written. Safe from several threads.

    Args:
        size: bytes. One request always fits into an empty room.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._lock = threading.Lock()
        self.taken = 0
        """Bytes."""

    def require(self, bytes_: int, own: int = 0) -> None:
        """Say whether so much more would fit now.

        Args:
            bytes_: how much more.
            own: what the same request has taken already.

        Raises:
            OverloadedError: it would not.
        """
        others = self.taken > own
        if others and self.taken + bytes_ > self.size:
            msg = f"{self.taken} bytes of {self.size} wait to be written; send the request again, later."
            raise OverloadedError(msg)

    def take(self, bytes_: int, own: int = 0) -> None:
        """Take so much more; as ``require``."""
        with self._lock:
            self.require(bytes_, own)
            self.taken += bytes_

    def give_back(self, bytes_: int) -> None:
        """End what was taken."""
        with self._lock:
            self.taken -= bytes_


class Arriving:
    """A request that is being read: takes room as it arrives, and gives it back at the end of the context."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._bytes = 0

    def add(self, bytes_: int) -> None:
        """So much more of it has arrived.

        Raises:
            OverloadedError: there is no room for it.
        """
        self._room.take(bytes_, own=self._bytes)
        self._bytes += bytes_

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._room.give_back(self._bytes)
