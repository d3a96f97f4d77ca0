"""Where both receivers bring their requests: who may come in, what becomes of it, whether there is room for more."""

from __future__ import annotations

import asyncio
import hmac
import logging
import time

from otel_runs.errors import OtelRunsError, TooLargeError, UnauthenticatedError
from otel_runs.receiver.answers import Answer, answer_to
from otel_runs.receiver.intake import Intake
from otel_runs.receiver.meters import Meters
from otel_runs.receiver.request import Outcome, Request
from otel_runs.receiver.room import Room, Share

logger = logging.getLogger(__name__)


class Desk:
    """Takes requests inside an event loop.

    Args:
        intake: where they wait.
        room: that they take while they arrive.
        meters: told of everything.
        token: that clients must show (RFC 6750, ``Authorization: Bearer ...``); None lets everybody in.
        most_bytes: of one request, as sent and after decompression.
    """

    def __init__(self, intake: Intake, room: Room, meters: Meters, *, token: str | None, most_bytes: int) -> None:
        self._intake = intake
        self._room = room
        self._meters = meters
        self._token = token
        self.most_bytes = most_bytes
        self.room_bytes = room.size
        """Of all requests."""

    def admit(self, authorization: str | None, size: int = 0) -> None:
        """Decide, before its body is read, whether a request comes in.

        Args:
            authorization: as of ``authenticate``.
            size: of the body in bytes, as far as its sender told.

        Raises:
            UnauthenticatedError: it does not show the token.
            TooLargeError: it is above the limit.
            OverloadedError: there is no room for it now.
            StoppingError: the server takes no more work.
        """
        self.authenticate(authorization)
        self.require_allowed(size)
        self.require_room(size)

    def authenticate(self, authorization: str | None) -> None:
        """Refuse who does not show the token, where there is one.

        Args:
            authorization: the header or metadata of this name.

        Raises:
            UnauthenticatedError: it does not show the token.
        """
        if self._token is not None:
            scheme, _, shown = (authorization or "").partition(" ")
            # Compared in a time that does not tell how much of it was right.
            if scheme.lower() != "bearer" or not hmac.compare_digest(shown.strip().encode(), self._token.encode()):
                msg = "This server wants a token: send 'Authorization: Bearer <token>' with the right one."
                raise UnauthenticatedError(msg)

    def require_allowed(self, size: int) -> None:
        """Refuse a request that is larger than one may be, as it is sent.

        Raises:
            TooLargeError: it is.
        """
        if size > self.most_bytes:
            msg = f"The body is larger than {self.most_bytes} bytes; send smaller batches."
            raise TooLargeError(msg)

    def require_room(self, size: int = 0) -> None:
        """As ``Intake.require_room``."""
        self._intake.require_room(size)

    def arriving(self, size: int = 0) -> Share:
        """Around the reading of a request's body, piece by piece; its size, as far as its sender told."""
        return self._room.share(size)

    async def store(self, request: Request, protocol: str) -> Outcome:
        """Queue a request, and wait until it is committed.

        Raises:
            OtelRunsError: as ``Intake.submit`` and its outcome.
        """
        start = time.perf_counter()
        outcome = await asyncio.wrap_future(self._intake.submit(request))
        self._meters.add_outcome(protocol, outcome, time.perf_counter() - start)
        return outcome

    def failed(self, protocol: str, error: BaseException) -> Answer:
        """Count a request that failed, and say how to answer it."""
        self._meters.add_failure(protocol, error)
        # What clients do wrong is answered and counted; a line for each would let them fill the disk.
        if not isinstance(error, OtelRunsError):
            logger.error("A request over %s failed; this is a defect.", protocol, exc_info=error)
        answer = answer_to(error)
        _forget_functions(error)
        return answer


def _forget_functions(error: BaseException) -> None:
    """Let go of the functions that an error went through, and so of their variables: the request's body is among them.

    The future that brought the error here refers to itself, so it keeps the error until the garbage collector comes by.
    """
    error.__traceback__ = error.__cause__ = error.__context__ = None
