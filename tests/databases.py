"""Which databases a test runs on, where it need not be every one."""

from __future__ import annotations

from typing import Final

import pytest

from tests.servers.postgres import VERSIONS

one_of_each_kind: Final = pytest.mark.parametrize(
    "database_url_for_test", ["sqlite", f"postgres{max(VERSIONS)}"], indirect=True
)
"""SQLite and the newest PostgreSQL: for what no version of a server can change, such as the end of a process, where it
takes long to show."""
