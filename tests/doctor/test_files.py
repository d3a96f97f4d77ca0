"""The files of an SQLite database, provoked for real."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import pytest

from otel_runs.doctor import files
from otel_runs.store.engine import open_database

MOUNTS = """\
/dev/vda1 / ext4 rw,relatime 0 0
server:/export /mnt/team\\040data nfs4 rw 0 0
tmpfs /mnt/team\\040data/local tmpfs rw 0 0
//server/share /srv/share cifs rw 0 0
broken
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "runs.db"
    open_database(path).close()
    return path


def test_nothing_is_said_of_a_sound_file_or_of_none(path: Path) -> None:
    assert list(files.findings(str(path))) == []
    assert list(files.findings(str(path.with_name("nothing.db")))) == []
    assert list(files.findings("postgresql://me@db/runs")) == []


def test_log_that_a_reader_keeps_from_being_folded_in_is_told(path: Path) -> None:
    with closing(sqlite3.connect(path)) as reader, closing(sqlite3.connect(path)) as writer:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM runs").fetchall()
        writer.execute("PRAGMA synchronous = OFF")
        writer.execute("CREATE TABLE ballast (content BLOB)")
        for _ in range(8):
            writer.execute("INSERT INTO ballast VALUES (zeroblob(1024 * 1024))")
            writer.commit()
        assert list(files.log(path)) == []
        for _ in range(60):
            writer.execute("INSERT INTO ballast VALUES (zeroblob(1024 * 1024))")
            writer.commit()
        (found,) = files.log(path)
    assert (found.check, "wal_checkpoint" in found.do) == ("write-ahead-log", True)
    assert list(files.log(path)) == []


UNPRIVILEGED = """
import os, sys
from pathlib import Path
from otel_runs.doctor import files
if os.geteuid() == 0:  # who may write everything
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
print(*(finding.check for finding in files.permissions(Path(sys.argv[1]))))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="permissions are others there")
def test_file_that_may_not_be_written_is_told(tmp_path: Path) -> None:
    # Not below pytest's folder, which others may not enter.
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "runs.db"
        open_database(path).close()
        for mode, expected in ((0o777, ""), (0o555, "permissions")):
            folder.chmod(mode)
            path.chmod(mode)
            done = subprocess.run(
                [sys.executable, "-c", UNPRIVILEGED, str(path)], capture_output=True, text=True, timeout=60, check=True
            )
            assert done.stdout.strip() == expected
        folder.chmod(0o755)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/mnt/team data/runs.db", "nfs4"),
        ("/srv/share/a/runs.db", "cifs"),
        ("/srv/shared/runs.db", None),
        ("/mnt/team data/local/runs.db", None),
        ("/home/me/runs.db", None),
    ],
)
def test_network_file_system_is_the_one_of_the_longest_mount_point(path: str, kind: str | None) -> None:
    found = list(files.network(Path(path), MOUNTS))
    assert [finding.check for finding in found] == (["network-file-system"] if kind else [])
    assert kind is None or f"({kind})" in found[0].found
