"""``otel-runs serve`` as a process: its ports, its token, its end."""

from __future__ import annotations

import http.client
import re
import signal
import socket
import sqlite3
import ssl
import subprocess
import threading
import time
from contextlib import ExitStack

import grpc
import pytest

from tests.programs import Programs, otel_runs_command, words_of
from tests.server.requests import new_request
from tests.server.running import PROTOBUF, SECONDS, TRACES, ServerProcess, failure_of
from tests.servers.certificates import Certificate
from tests.stored_names import names_in


def serve(programs: Programs, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Start a server that does not come to serve; what it says."""
    command = otel_runs_command("serve", "--otlp-grpc", "127.0.0.1:0", "--otlp-http", "127.0.0.1:0", *arguments)
    return programs.run(command, environ=environ)


def test_line_on_standard_output_names_the_ports_and_the_database(programs: Programs) -> None:
    with ServerProcess(programs, "--db", "runs.db") as server:
        assert server.place == str(programs.database)
        assert server.request("GET", "/healthz").code == 200
        assert server.request("GET", "/readyz").body == b"ready\n"
        assert server.post(new_request()).code == 200
        assert server.export(new_request()) == b""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_stops_it_with_exit_code_0_and_what_was_accepted_is_written(
    programs: Programs, number: signal.Signals
) -> None:
    # The smallest queue: not ready as soon as a request waits in it.
    with ServerProcess(programs, "--db", "runs.db", environ={"OTEL_RUNS_SERVER_QUEUE_BYTES": "1"}) as server:
        lock = sqlite3.connect(programs.database, isolation_level=None)
        lock.execute("BEGIN IMMEDIATE")
        codes: list[int] = []
        client = threading.Thread(target=lambda: codes.append(server.post(new_request()).code))
        client.start()
        await_unready(server, b"wait to be written")
        server.process.send_signal(number)
        await_unready(server, b"is stopping")
        assert server.post(new_request()).code == 503
        assert codes == []
        lock.close()
        client.join(SECONDS)
        assert server.process.wait(SECONDS) == 0
    assert codes == [200]
    assert names_in(str(programs.database)) == ["nightly", "step 0", "step 1"]


def await_unready(server: ServerProcess, why: bytes) -> None:
    """Wait until the server says that it is not ready, and why."""
    deadline = time.monotonic() + SECONDS
    while why not in (answer := server.request("GET", "/readyz")).body:
        assert time.monotonic() < deadline, answer


def test_port_in_use_is_said_with_exit_code_1(programs: Programs) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        for option in ("--otlp-http", "--otlp-grpc"):
            done = serve(programs, option, address, "--db", "runs.db")
            assert done.returncode == 1
            assert f"{option}: cannot listen on {address}: " in done.stderr
            assert "Traceback" not in done.stderr


def test_second_server_does_not_share_the_ports_of_the_first(programs: Programs) -> None:
    with ServerProcess(programs, "--db", "runs.db") as first:
        done = serve(programs, "--otlp-grpc", str(first.ports.otlp_grpc), "--db", "runs.db")
        assert (done.returncode, done.stdout) == (1, "")


@pytest.mark.parametrize("address", ["4317", "localhost", "localhost:", ":4317", "localhost:http", "127.0.0.1:65536"])
def test_address_that_cannot_be_read_is_said_with_an_example(programs: Programs, address: str) -> None:
    done = serve(programs, "--otlp-http", address)
    assert done.returncode == 2
    assert f"--otlp-http is '{address}'; expected HOST:PORT" in words_of(done.stderr)


def test_database_that_cannot_be_used_stops_the_start_with_exit_code_1(programs: Programs) -> None:
    programs.database.write_bytes(b"a text, not a database" * 100)
    done = serve(programs, "--db", "runs.db")
    assert done.returncode == 1
    assert "is not an SQLite database" in done.stderr.replace("\n", " ")


def test_without_the_extra_it_says_what_to_install(programs: Programs) -> None:
    (programs.folder / "uvicorn.py").write_text("raise ModuleNotFoundError(name='uvicorn')")
    done = serve(programs, PYTHONPATH=str(programs.folder))
    assert done.returncode == 1
    assert "otel-runs serve needs uvicorn" in words_of(done.stderr)
    assert "pip install 'otel-runs[server]'" in words_of(done.stderr)


def test_server_holds_neither_what_reads_the_command_line_nor_what_lies_in_the_working_directory(
    programs: Programs,
) -> None:
    (programs.folder / "uvicorn.py").write_text("raise SystemExit('not to be imported')")
    with ServerProcess(programs, "--db", "runs.db", environ={"PYTHONPROFILEIMPORTTIME": "1"}) as server:
        imported = re.findall(r"^import time:.*\|\s+(.*)$", server.log.read_text(), re.MULTILINE)
    begin = len(imported) - imported[::-1].index("imported package")  # each program begins with the heading
    assert "typer" in imported[:begin]
    assert "uvicorn" in imported[begin:]
    assert {"typer", "rich", "pydantic"}.isdisjoint(imported[begin:])


BEARER = {"authorization": "Bearer s3cret"}


@pytest.mark.parametrize("from_file", [False, True])
def test_token_lets_in_who_shows_it_and_nobody_else(programs: Programs, from_file: bool) -> None:
    (programs.folder / "token").write_text("s3cret\n")
    environ = {"OTEL_RUNS_SERVER_TOKEN_FILE": "token"} if from_file else {"OTEL_RUNS_SERVER_TOKEN": "s3cret"}
    with ServerProcess(programs, "--db", "runs.db", environ=environ) as server:
        for wrong in ({}, {"authorization": "Bearer wrong"}, {"authorization": "Basic s3cret"}):
            answer = server.post(new_request(), **wrong)
            assert (answer.code, answer.headers["www-authenticate"]) == (401, "Bearer")
            assert "Authorization: Bearer" in answer.status.message
            with pytest.raises(grpc.RpcError) as raised:
                server.export(new_request(), metadata=wrong)
            assert failure_of(raised.value).code is grpc.StatusCode.UNAUTHENTICATED
        assert server.post(new_request(), **BEARER).code == 200
        assert server.export(new_request(), metadata=BEARER) == b""
        assert server.request("GET", "/readyz").code == 200, "who asks for its health needs no token"
    assert "s3cret" not in server.log.read_text()


@pytest.mark.parametrize("content", [None, "", " \n"])
def test_token_file_that_is_missing_or_empty_stops_the_start(programs: Programs, content: str | None) -> None:
    if content is not None:
        (programs.folder / "token").write_text(content)
    done = serve(programs, OTEL_RUNS_SERVER_TOKEN_FILE="token")
    assert done.returncode == 1
    assert "OTEL_RUNS_SERVER_TOKEN_FILE is 'token'" in done.stderr.replace("\n", " ")


def test_end_of_the_line_is_no_part_of_a_token_from_the_environment(programs: Programs) -> None:
    with ServerProcess(programs, "--db", "runs.db", environ={"OTEL_RUNS_SERVER_TOKEN": "s3cret\n"}) as server:
        assert server.post(new_request(), **BEARER).code == 200


@pytest.mark.parametrize(
    ("token", "says"), [(" \n", "is empty"), ("g\u00fcltig", "has characters that no header carries")]
)
def test_token_that_nobody_can_send_stops_the_start(programs: Programs, token: str, says: str) -> None:
    done = serve(programs, OTEL_RUNS_SERVER_TOKEN=token)
    assert done.returncode == 1
    assert f"OTEL_RUNS_SERVER_TOKEN {says}" in words_of(done.stderr)
    assert "ltig" not in done.stderr


@pytest.mark.parametrize("host", [".example.com", "a" * 64 + ".example.com"])
def test_host_that_no_name_can_be_is_said_without_a_traceback(programs: Programs, host: str) -> None:
    done = serve(programs, "--otlp-http", f"{host}:0", "--db", "runs.db")
    assert done.returncode == 1
    assert f"--otlp-http: cannot listen on {host}:0" in words_of(done.stderr).replace("\n", " ")
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")
def test_both_ports_take_ipv4_where_they_listen_on_all_addresses_of_ipv6(programs: Programs) -> None:
    with ServerProcess(programs, "--otlp-grpc", "[::]:0", "--otlp-http", "[::]:0", "--db", "runs.db") as server:
        for host in ("127.0.0.1", "::1"):
            for port in (server.ports.otlp_grpc.port, server.ports.otlp_http.port):
                socket.create_connection((host, port), timeout=SECONDS).close()


def test_address_that_others_reach_is_warned_of_unless_there_are_a_token_and_tls(programs: Programs) -> None:
    everywhere = ("--otlp-http", "0.0.0.0:0", "--db", "runs.db")
    with ServerProcess(programs, *everywhere) as open_to_all:
        pass
    with ServerProcess(programs, *everywhere, environ={"OTEL_RUNS_SERVER_TOKEN": "s3cret"}) as with_token:
        pass
    with ServerProcess(programs, "--db", "runs.db") as at_home:
        pass
    assert "Whoever reaches 0.0.0.0:0 can write runs" in open_to_all.log.read_text()
    assert "The token travels unencrypted" in with_token.log.read_text()
    assert "WARNING" not in at_home.log.read_text()


def test_both_ports_speak_tls_with_the_given_certificate(programs: Programs, certificate: Certificate) -> None:
    cert, key = certificate
    with ServerProcess(programs, "--db", "runs.db", "--tls-cert", str(cert), "--tls-key", str(key)) as server:
        context = ssl.create_default_context(cafile=cert)
        https = http.client.HTTPSConnection(*server.ports.otlp_http, timeout=SECONDS, context=context)
        https.request("POST", "/v1/traces", new_request().SerializeToString(), {"content-type": PROTOBUF})
        assert https.getresponse().status == 200
        https.close()
        credentials = grpc.ssl_channel_credentials(cert.read_bytes())
        with grpc.secure_channel(str(server.ports.otlp_grpc), credentials) as channel:
            export = channel.unary_unary(f"/{TRACES}/Export")
            assert export(new_request().SerializeToString(), timeout=SECONDS) == b""
    assert names_in(str(programs.database)).count("nightly") == 2


@pytest.mark.parametrize("given", [("--tls-cert", "x"), ("--tls-cert", "x", "--tls-key", "y")])
def test_tls_files_that_are_missing_stop_the_start(programs: Programs, given: tuple[str, ...]) -> None:
    done = serve(programs, *given, "--db", "runs.db")
    assert done.returncode in {1, 2}
    assert "--tls-cert" in done.stderr
    assert "Traceback" not in done.stderr


def test_line_in_the_log_says_what_came_in_and_only_if_something_did(programs: Programs) -> None:
    with ServerProcess(programs, "--db", "runs.db", environ={"OTEL_RUNS_SERVER_LOG_SECONDS": "0.2"}) as server:
        server.post(new_request())
        server.post(b"\xff", "text/plain")
        deadline = time.monotonic() + SECONDS
        while "requests refused: 1" not in (text := server.log.read_text()):
            assert time.monotonic() < deadline, text
    assert text.count("spans stored: 3") == 1
    assert "requests: 0" not in text


def test_log_says_at_the_stop_what_came_in_since_its_last_line(programs: Programs) -> None:
    with ServerProcess(programs, "--db", "runs.db") as server:
        server.post(new_request())
        server.post(b"\xff", "text/plain")
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(SECONDS) == 0
        assert "requests: 2, spans stored: 3, spans refused: 0, requests refused: 1" in server.log.read_text()


def test_request_that_is_still_arriving_at_a_stop_is_asked_for_again(programs: Programs) -> None:
    """With any other code its sender would drop it: a Collector sends nothing again that was answered with 500."""
    with ServerProcess(programs, "--db", "runs.db") as server, ExitStack() as stack:
        head = b"POST /v1/%s HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n{"
        slow = [stack.enter_context(socket.create_connection(server.ports.otlp_http, SECONDS)) for _ in range(2)]
        slow[0].sendall(head % b"traces")
        slow[1].sendall((head % b"traces").replace(b"json", b"other"))  # refused; the rest of its body is let go
        assert server.post(new_request()).code == 200, "which is read after the others"
        server.process.send_signal(signal.SIGTERM)
        taken, refused = (connection.recv(1000) for connection in slow)
        assert taken.startswith(b"HTTP/1.1 503")
        assert b"\r\nretry-after: 2\r\n" in taken.lower()
        assert refused.startswith(b"HTTP/1.1 415")
        assert server.process.wait(SECONDS) == 0
    assert "Traceback" not in server.log.read_text()
