"""Ports of 127.0.0.1 for the servers of the tests."""

from __future__ import annotations

import socket


def free_port() -> int:
    """A port that nobody listens on. The next one is another: the kernel goes round."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port
