"""The arguments of ``configure()``, and how it complains of them and of the variables that stand for them."""

from __future__ import annotations

import logging
from typing import Final, NamedTuple

from otel_runs import settings
from otel_runs.errors import SettingsError
from otel_runs.settings import is_strict
from otel_runs.store.folder import NO_DATABASE

logger: Final = logging.getLogger(__name__)


class Wanted(NamedTuple):
    """The arguments of one call of ``configure()``; None: no wish."""

    url: str | None
    otlp_endpoint: str | None
    service_name: str | None
    environment: str | None

    @property
    def database(self) -> str | None:
        """The run database that is named here or by ``OTEL_RUNS_DB``."""
        return self.url or settings.read(settings.DB)

    @property
    def has_database(self) -> bool:
        """Whether runs are stored by this process."""
        return self.database != NO_DATABASE

    def changes(self, later: Wanted) -> list[tuple[str, str | None, str]]:
        """What a later call asks for otherwise: name, value here, value there."""
        return [
            (name, before, value)
            for name, before, value in zip(self._fields, self, later, strict=True)
            if value is not None and value != before
        ]


def complain_about_changes(first: Wanted, wanted: Wanted) -> None:
    """Say what a second call cannot have.

    Raises:
        SettingsError: as `complain`.
    """
    changes = first.changes(wanted)
    if changes:
        told = (f"{name}={shown(value)} (is {shown(before)})" for name, before, value in changes)
        complain(
            f"otel_runs.configure() was called again with {', '.join(told)}; a process is configured once, and the "
            "first call stays in force. Remove one of the calls."
        )


def complain_if_late(wanted: Wanted) -> None:
    """Say what a provider that is there cannot take.

    Raises:
        SettingsError: as `complain`.
    """
    if wanted.service_name or wanted.environment:
        complain(
            f"service_name {wanted.service_name!r} and environment {wanted.environment!r} come too late: the resource "
            "of a tracer provider that is set cannot change. Give them to the provider's Resource, or set "
            "OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES=deployment.environment.name=... before."
        )


def shown(value: str | None) -> str:
    """An argument for people: URLs may hold passwords."""
    from otel_runs.store import location  # it loads SQLAlchemy, for this message only

    return repr(value if value is None else location.shown(value))


def complain(message: str, cause: Exception | None = None) -> None:
    """Log what cannot be done; what can be done is.

    Raises:
        SettingsError: ``OTEL_RUNS_STRICT`` is on.
    """
    if is_strict():
        raise SettingsError(message) from cause
    logger.error(message)
