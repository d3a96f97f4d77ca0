"""Whether a process lives, asked by another one on the same machine and elsewhere."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from otel_runs.process import is_alive, process_identity

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="identities of processes need Linux")

TELLS = "from otel_runs.process import process_identity; print(process_identity(), flush=True); input()"


@pytest.fixture
def other() -> Iterator[subprocess.Popen[str]]:
    """A process that tells its identity and waits."""
    arguments = [sys.executable, "-c", TELLS]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


def told_by(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_identity_names_boot_namespace_process_and_its_start() -> None:
    boot, namespace, pid, started = (process_identity() or "").split(":")
    assert boot == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert namespace == str(Path("/proc/self/ns/pid").stat().st_ino)
    assert (int(pid), int(started) > 0) == (os.getpid(), True)


def test_this_process_lives() -> None:
    assert is_alive(process_identity()) is True


def test_other_process_lives_until_it_is_killed_though_nobody_has_asked_for_its_end(
    other: subprocess.Popen[str],
) -> None:
    identity = told_by(other)
    assert identity != process_identity()
    assert is_alive(identity) is True
    other.kill()
    os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and is left as a zombie
    assert is_alive(identity) is False
    other.wait(10)
    assert is_alive(identity) is False


def test_stopped_process_lives(other: subprocess.Popen[str]) -> None:
    identity = told_by(other)
    other.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, other.pid, os.WSTOPPED)
    assert is_alive(identity) is True


def test_forked_child_has_an_identity_of_its_own() -> None:
    mine = process_identity()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, (process_identity() or "").encode())
        os._exit(0)
    os.waitpid(child, 0)
    told = os.read(reading, 1000).decode()
    os.close(reading)
    os.close(writing)
    assert told.split(":")[2] == str(child)
    assert told.split(":")[:2] == (mine or "").split(":")[:2]


def test_process_whose_id_was_given_to_another_one_is_dead() -> None:
    boot, namespace, pid, started = (process_identity() or "").split(":")
    assert is_alive(f"{boot}:{namespace}:{pid}:{int(started) - 1}") is False


@pytest.mark.parametrize("place", [0, 1])
def test_nothing_is_said_of_processes_of_another_boot_machine_or_container(place: int) -> None:
    parts = (process_identity() or "").split(":")
    parts[place] = "7"
    assert is_alive(":".join(parts)) is None


@pytest.mark.parametrize("identity", [None, "", "nonsense", "a:b:c:d", "a:b:-1:d", "a:b:1:2:3"])
def test_nothing_is_said_of_what_is_no_identity(identity: str | None) -> None:
    assert is_alive(identity) is None


def test_process_that_proc_hides_is_not_said_to_be_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    boot, namespace, _, started = (process_identity() or "").split(":")
    hidden = f"{boot}:{namespace}:1:{started}"

    def hide(pid: int) -> list[str]:
        raise FileNotFoundError(pid)

    process_identity()
    monkeypatch.setattr("otel_runs.process._stat_of", hide)
    assert is_alive(hidden) is None
