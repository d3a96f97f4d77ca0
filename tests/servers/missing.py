"""What a test does without its server or program: it skips on a developer's machine, and fails in CI."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Never

import pytest


class ServerMissingError(Exception):
    """The server cannot be had on this machine; the message says why, and what to do."""


@contextmanager
def needed() -> Iterator[None]:
    """A block in which a test makes its servers: it ends the test where one of them cannot be had."""
    try:
        yield
    except ServerMissingError as exc:
        skip_or_fail(str(exc))


def skip_or_fail(reason: str) -> Never:
    """End the test. In CI a test that did not run must not look like one that passed."""
    (pytest.fail if in_ci() else pytest.skip)(reason)


def sqlite3_shell() -> str:
    """Where the sqlite3 shell is; ends the test where there is none. Python's own SQLite comes without it."""
    return shutil.which("sqlite3") or skip_or_fail("no sqlite3 shell on this machine; the package sqlite3 brings it")


def in_ci() -> bool:
    """Whether every server must be there."""
    return os.environ.get("CI") == "true"
