"""Ports of 127.0.0.1 for the servers of the tests."""

from __future__ import annotations

import os
import socket
from itertools import count, islice
from typing import Final

_FIRST: Final = 15_000
_COUNT: Final = 17_000
"""Up to where the kernel takes ports for outgoing connections, which could be one of ours before its server starts."""
_numbers = count(os.getpid() * 7919)  # processes that run beside each other begin far from each other


def free_port() -> int:
    """A port that nobody listens on and that this process has not been given before."""
    for number in islice(_numbers, _COUNT):
        port = _FIRST + number % _COUNT
        with socket.socket() as free:
            try:
                free.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    msg = "no port is free"
    raise AssertionError(msg)
