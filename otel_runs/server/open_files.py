"""How many files a process may have open, connections among them."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final

logger = logging.getLogger(__name__)

_FILES: Final = 8_192
"""More than both ports take at their limits, with what the databases and workers need."""
_SILENCE_SECONDS: Final = 60.0
_NO_MORE: Final = "socket.accept() out of system resource"
"""What asyncio says of a connection that it cannot take, and of each other one that its queue might hold."""


def allow_many() -> None:
    """Raise the limit that the process was started with, mostly 1024, as far as the system lets it."""
    try:
        import resource
    except ImportError:  # this platform has no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class TellOfTooMany:
    """The exception handler of an event loop: says once a minute that no connection can be taken.

    asyncio says it thousands of times a second, with a traceback each, which fills the disk.
    """

    def __init__(self) -> None:
        self._next = 0.0
        """When it may be said again, in the loop's time."""

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """As ``loop.set_exception_handler`` wants it."""
        if context.get("message") != _NO_MORE:
            loop.default_exception_handler(context)
        elif loop.time() >= self._next:
            self._next = loop.time() + _SILENCE_SECONDS
            logger.error(
                "No further connection can be taken: %s. Allow more open files (ulimit -n; LimitNOFILE= of systemd).",
                context.get("exception"),
            )
