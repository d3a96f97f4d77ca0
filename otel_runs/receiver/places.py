"""Places for messages that arrive over gRPC: few, and shared fairly between connections."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

PATIENCE_SECONDS: Final = 2.0
"""That a call waits before it sends away another one, which has had its place for as long."""


class _Call:
    """A call that wants a place, or has one."""

    def __init__(self, connection: str, leaving: asyncio.Timeout) -> None:
        self.connection = connection
        self.leaving = leaving
        self.turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.since = 0.0
        """The loop's time when it got its place."""

    def is_late(self, now: float) -> bool:
        """Whether it has had its place for long, and has not been sent away yet."""
        ends = self.leaving.when()
        return now - self.since >= PATIENCE_SECONDS and ends is not None and ends > now


class Places:
    """So many calls may be inside at once. Lives in one event loop.

    A call whose message never comes would keep its place until its time is over, and a few of them would keep everybody
    else out. So one connection gets all places but one, a free place goes to the connection that has the fewest, and
    who has had one for long must leave when somebody else has waited for long. But not those in the older half: where
    many messages come slowly, some must come to their end.

    Args:
        number: of places.
    """

    def __init__(self, number: int) -> None:
        self._number = number
        self._most = max(1, number - 1)
        """Of one connection."""
        self._inside: list[_Call] = []
        """The oldest first."""
        self._waiting: list[_Call] = []
        self._admitted: dict[str, float] = {}
        """When connections that have calls here got their last place, in the loop's time."""

    @asynccontextmanager
    async def one(self, connection: str, leaving: asyncio.Timeout) -> AsyncIterator[None]:
        """Around what is done in a place.

        Args:
            connection: of the call.
            leaving: around this; made to end early when the call must leave.
        """
        call = _Call(connection, leaving)
        self._waiting.append(call)
        self._admit()
        try:
            while not call.turn.done():
                await asyncio.wait([call.turn], timeout=PATIENCE_SECONDS)
                if not call.turn.done():
                    self._send_one_away(connection)
            yield
        finally:
            (self._inside if call.turn.done() else self._waiting).remove(call)
            if all(other.connection != connection for other in (*self._inside, *self._waiting)):
                self._admitted.pop(connection, None)
            self._admit()

    def _admit(self) -> None:
        """Give what is free to who waits."""
        while self._waiting and len(self._inside) < self._number:
            has = Counter(call.connection for call in self._inside)
            # Of several that have as few, who got one longest ago; of those that never did, the first that came.
            call = min(self._waiting, key=lambda call: (has[call.connection], self._admitted.get(call.connection, 0.0)))
            if has[call.connection] >= self._most:
                return
            self._waiting.remove(call)
            self._inside.append(call)
            call.since = self._admitted[call.connection] = asyncio.get_running_loop().time()
            call.turn.set_result(None)

    def _send_one_away(self, waiting: str) -> None:
        """Of the younger half, or of those of the same connection in it if that has as many as it may."""
        younger = self._inside[self._number // 2 :]
        if sum(call.connection == waiting for call in self._inside) >= self._most:
            younger = [call for call in younger if call.connection == waiting]
        now = asyncio.get_running_loop().time()
        late = next((call for call in younger if call.is_late(now)), None)
        if late is not None:
            late.leaving.reschedule(now)
