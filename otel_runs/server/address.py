"""Addresses that the server listens on."""

from __future__ import annotations

import ipaddress
import socket
from typing import Final, NamedTuple

from otel_runs.errors import SettingsError

_LAST_PORT: Final = 65_535
BACKLOG: Final = 128
"""Connections that wait to be taken."""


class Address(NamedTuple):
    """A host and a port; port 0 is one that is free."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


def address_from_text(text: str, option: str) -> Address:
    """Read ``127.0.0.1:4317`` or ``[::1]:4317``.

    Args:
        text: given by the user.
        option: by which it was given, for the message.

    Raises:
        SettingsError: it is no address.
    """
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not port.isdecimal() or int(port) > _LAST_PORT:
        msg = (
            f"{option} is {text!r}; expected HOST:PORT, for instance 127.0.0.1:4317 or [::1]:4317 (port 0: a free one)"
        )
        raise SettingsError(msg)
    return Address(host, int(port))


def listening_socket(address: Address, option: str) -> socket.socket:
    """A socket that listens there.

    Raises:
        SettingsError: the address is in use, or not one of this machine.
    """
    try:
        family = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)[0][0]
        # As gRPC does: [::] is this machine by either protocol.
        takes_both = address.host == "::" and socket.has_dualstack_ipv6()
        listens_at = (address.host, address.port)
        return socket.create_server(listens_at, family=family, backlog=BACKLOG, dualstack_ipv6=takes_both)
    except UnicodeError as exc:  # of names that DNS cannot hold
        raise cannot_listen(address, option, "the host is no name that can be looked up") from exc
    except OSError as exc:
        raise cannot_listen(address, option, exc.strerror or str(exc)) from exc


def cannot_listen(address: Address, option: str, reason: str) -> SettingsError:
    """The error of an address that cannot be had."""
    return SettingsError(
        f"{option}: cannot listen on {address}: {reason}; "
        "stop what listens there, or choose another port (0: a free one)"
    )
