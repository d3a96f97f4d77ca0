"""``docker-compose.yml`` starts what the tests start, from the same files, closed to other machines."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from otel_runs import __version__
from tests.collector.composition import composition, on_this_machine
from tests.collector.conftest import StartCollector, StartServe
from tests.collector.history import wait_for_all
from tests.collector.spans import SPANS_A_TRACE, Sending, Traces
from tests.project.documents import ROOT
from tests.servers.builds import LOCKS
from tests.servers.collector import CONFIGS
from tests.servers.jaeger import Jaeger
from tests.servers.missing import needed
from tests.servers.postgres import VERSIONS, PostgresServer

SERVICES = ["collector", "jaeger", "otel-runs", "postgres"]
PINNED = re.compile(r"[a-z0-9./-]+:\d+(\.\d+)+(-[a-z0-9.-]+)?")


@pytest.fixture(scope="module")
def whole() -> dict[str, Any]:
    with needed():
        return composition()


def images_of(service: dict[str, Any]) -> Iterator[str]:
    """The images that a service is made from."""
    yield service["image"]
    if "build" in service:
        arguments = service["build"].get("args", {})
        dockerfile = Path(service["build"]["context"], service["build"]["dockerfile"]).read_text()
        for image in re.findall(r"^FROM (\S+)", dockerfile, re.MULTILINE):
            yield re.sub(r"\$\{(\w+)\}", lambda match: arguments[match[1]], image)


def test_there_are_four_services(whole: dict[str, Any]) -> None:
    assert sorted(whole["services"]) == SERVICES


@pytest.mark.parametrize("name", SERVICES)
def test_service_is_pinned_watched_restarted_and_closed_to_other_machines(name: str, whole: dict[str, Any]) -> None:
    service = whole["services"][name]

    assert [image for image in images_of(service) if not PINNED.fullmatch(image)] == []
    assert service["healthcheck"]["test"][0] == "CMD"
    assert service["restart"] == "unless-stopped"
    assert {port["host_ip"] for port in service["ports"]} == {"127.0.0.1"}
    assert not service.get("privileged")
    assert "network_mode" not in service


def test_versions_are_those_that_the_tests_run(whole: dict[str, Any]) -> None:
    tags = {name: service["image"].partition(":")[2] for name, service in whole["services"].items()}
    manifest = (LOCKS / "collector" / "manifest.yaml").read_text()

    assert f"  version: {tags['collector']}\n" in manifest
    assert whole["services"]["collector"]["build"]["args"]["IMAGE"].endswith(f":{tags['collector']}")
    assert f"tried with version {tags['collector']}," in (CONFIGS / "README.md").read_text()
    assert tags["otel-runs"] == __version__
    assert int(tags["postgres"].partition(".")[0]) in VERSIONS
    # Jaeger counts its modules for Go otherwise: 2.13.0 is v1.76.0 there.
    assert tags["jaeger"] == "2.13.0"
    assert "github.com/jaegertracing/jaeger v1.76.0" in (LOCKS / "jaeger" / "go.mod").read_text()


def test_no_service_starts_before_what_it_needs_is_healthy(whole: dict[str, Any]) -> None:
    needs = {
        name: {needed: how["condition"] for needed, how in service.get("depends_on", {}).items()}
        for name, service in whole["services"].items()
    }
    healthy = "service_healthy"
    assert needs["collector"] == {"jaeger": healthy, "otel-runs": healthy}
    assert needs["otel-runs"] == {"postgres": healthy}


def test_what_must_stay_is_in_named_volumes(whole: dict[str, Any]) -> None:
    mounted = {
        (name, volume["source"], volume["target"])
        for name, service in whole["services"].items()
        for volume in service.get("volumes", [])
        if volume["type"] == "volume"
    }
    assert mounted == {("postgres", "runs", "/var/lib/postgresql"), ("jaeger", "traces", "/storage")}
    assert set(whole["volumes"]) == {"runs", "traces"}


def test_password_can_be_set_and_the_one_for_this_machine_is_then_nowhere() -> None:
    with needed():
        theirs = json.dumps(composition({"POSTGRES_PASSWORD": "theirs"}))

    assert theirs.count("theirs") == 2
    assert "local-only" not in theirs


@pytest.mark.parametrize(("name", "file"), [("collector", "local.yaml"), ("jaeger", "jaeger.yaml")])
def test_container_runs_the_file_that_the_tests_run_and_sets_variables_that_it_knows(
    name: str, file: str, whole: dict[str, Any]
) -> None:
    service = whole["services"][name]
    known = set(re.findall(r"\$\{env:(\w+)", (CONFIGS / file).read_text()))

    assert [on_this_machine(service, part) for part in service["command"]] == [f"--config={CONFIGS / file}"]
    assert set(service["environment"]) <= known
    for value in service["environment"].values():
        path = on_this_machine(service, value)
        assert not path.startswith("/") or path == "/storage" or Path(path).is_file()


def test_health_check_of_otel_runs_tells_a_server_that_is_ready_from_one_that_is_away(
    whole: dict[str, Any], start_serve: StartServe
) -> None:
    serve = start_serve()
    python, *arguments = whole["services"]["otel-runs"]["healthcheck"]["test"][1:]
    command = [sys.executable, *(part.replace("http://127.0.0.1:4318", serve.http) for part in arguments)]

    assert python == "python"
    assert subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == 0
    serve.kill()
    assert subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == 1


@pytest.fixture
def postgres(whole: dict[str, Any]) -> Iterator[PostgresServer]:
    """The database of the file, made as its image makes it."""
    with needed():
        server = PostgresServer(18)
    environ = whole["services"]["postgres"]["environment"]
    with psycopg.connect(server.url.replace("+psycopg", ""), autocommit=True) as connection:
        user, database, password = (environ[f"POSTGRES_{what}"] for what in ("USER", "DB", "PASSWORD"))
        connection.execute(f"CREATE ROLE {user} LOGIN PASSWORD '{password}'".encode())
        connection.execute(f"CREATE DATABASE {database} OWNER {user}".encode())
    yield server
    server.stop()


def test_the_same_processes_and_files_without_containers_leave_runs_and_traces(
    whole: dict[str, Any],
    postgres: PostgresServer,
    jaeger: Jaeger,
    start_serve: StartServe,
    start_collector: StartCollector,
) -> None:
    services = whole["services"]
    database = services["otel-runs"]["environment"]["OTEL_RUNS_DB"].replace(
        "@postgres/", f"@127.0.0.1:{postgres.port}/"
    )
    serve = start_serve(database)
    # Names of services, and ports in their containers, become this machine's.
    addresses = {"otel-runs:4317": serve.grpc, "jaeger:4337": jaeger.grpc}
    calls = {key: addresses[at] for key, at in services["collector"]["environment"].items() if at in addresses}
    assert set(calls) == {"RUNS_OTLP_GRPC", "JAEGER_OTLP_GRPC"}
    assert services["jaeger"]["environment"]["JAEGER_OTLP_GRPC"] == "0.0.0.0:4337"
    collector = start_collector("local.yaml", environ=calls)
    traces = Traces(20)
    Sending(collector.http, traces.requests(), seconds=60).finish()

    wait_for_all(database, traces, seconds=60)
    collector.pause()
    assert {len(jaeger.spans_of(id_)) for id_ in traces.ids()} == {SPANS_A_TRACE}


def test_image_of_otel_runs_starts_the_server_that_the_tests_start(start_serve: StartServe) -> None:
    serve = start_serve()
    dockerfile = (ROOT / "Dockerfile").read_text()
    words = [json.loads(text) for text in re.findall(r"^(?:ENTRYPOINT|CMD) (\[.*\])$", dockerfile, re.MULTILINE)]
    addresses = {"0.0.0.0:4317": serve.grpc, "0.0.0.0:4318": serve.http.removeprefix("http://")}

    command = [addresses.get(part, part) for part in [*words[0], *words[1]]]
    assert command[1:] == serve.command()[1:]
    assert Path(serve.command()[0]).name == command[0]
