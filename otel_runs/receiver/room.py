"""How many bytes requests may take in memory, all together."""

from __future__ import annotations

import threading
from typing import Self

from otel_runs.errors import OverloadedError


class Room:
    """What requests take: while they arrive, wait, and are written. Safe from several threads.

    A request that is larger than half of it would hardly ever find enough left beside others, so one such at a time
    stands outside: no stream of small ones keeps it out, nor it them.

    Args:
        size: bytes. One request always fits into an empty room.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._lock = threading.Lock()
        self.taken = 0
        """Bytes, of the one outside, too."""
        self._outside: Share | None = None

    def share(self, expected: int = 0) -> Share:
        """For one request; nothing yet."""
        return Share(self, expected)

    def require(self, bytes_: int) -> None:
        """Say whether a request of this size would fit now.

        Raises:
            OverloadedError: it would not.
        """
        with self._lock:
            if not self._fits(bytes_) and not self._may_stand_outside(bytes_):
                raise self._full()

    def add(self, share: Share, bytes_: int) -> None:
        """Take so much more for a request; see ``Share.add``."""
        with self._lock:
            if self._may_stand_outside(max(share.bytes + bytes_, share.expected)):
                self._outside = share
            if self._outside is not share and not self._fits(bytes_, share.bytes):
                raise self._full()
            share.bytes += bytes_
            self.taken += bytes_

    def end(self, share: Share) -> None:
        """End what a request takes."""
        with self._lock:
            self.taken -= share.bytes
            share.bytes = 0
            if self._outside is share:
                self._outside = None

    def _fits(self, bytes_: int, own: int = 0) -> bool:
        inside = self.taken - (self._outside.bytes if self._outside is not None else 0)
        return inside + bytes_ <= self.size or self.taken == own

    def _may_stand_outside(self, bytes_: int) -> bool:
        return self._outside is None and bytes_ > self.size // 2

    def _full(self) -> OverloadedError:
        return OverloadedError(f"{self.taken} bytes of {self.size} wait to be written; send the request again, later.")


class Share:
    """What one request takes of the room, until the end of the context.

    Args:
        room: of which it takes.
        expected: bytes that it will take in all, as far as that is known.
    """

    def __init__(self, room: Room, expected: int = 0) -> None:
        self._room = room
        self.expected = expected
        self.bytes = 0

    def add(self, bytes_: int) -> None:
        """Take so much more.

        Raises:
            OverloadedError: there is no room for it.
        """
        self._room.add(self, bytes_)

    def end(self) -> None:
        """Give it back; nothing at a second time."""
        self._room.end(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
