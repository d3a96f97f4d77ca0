"""Many spans as OTLP requests, and a sender that does what an SDK does: it repeats what was not acknowledged."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection, HTTPException
from typing import Final
from urllib.parse import urlsplit

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from otel_runs.ids import row_id_from_span, run_id_from_trace

SPANS_A_TRACE: Final = 50
_START: Final = 1_760_000_000_000_000_000
_RETRYABLE: Final = {429, 502, 503, 504}
_SENDERS: Final = 4


class Traces:
    """Traces of one root span and 49 steps below it.

    Args:
        count: how many. No two traces of one process of the tests have the same id, because they share a Jaeger.
        prompt: characters of text that each span carries, as those of language models do.
    """

    _made = 0

    def __init__(self, count: int, *, prompt: int = 0) -> None:
        self._prompt = "".join(random.Random(count).choices("abcdefghijklmnopqrstuvwxyz ", k=prompt))
        self.numbers = range(Traces._made + 1, Traces._made + count + 1)
        Traces._made += count

    def requests(self, of: int = 10) -> list[bytes]:
        """OTLP requests in protobuf.

        Args:
            of: traces in each.
        """
        return [_request(self.numbers[at : at + of], self._prompt) for at in range(0, len(self.numbers), of)]

    def ids(self) -> list[str]:
        """Trace ids, in hexadecimal."""
        return [_trace_id(number).hex() for number in self.numbers]

    def run_ids(self) -> set[str]:
        """The ids of the rows that the root spans become."""
        return {run_id_from_trace(id_) for id_ in self.ids()}

    def step_ids(self) -> set[str]:
        """The ids of the rows that the other spans become."""
        return {row_id_from_span(id_, _span_id(at).hex()) for id_ in self.ids() for at in range(1, SPANS_A_TRACE)}


def failed(number: int) -> bool:
    """Whether the root span of this trace is in error: one in ten is."""
    return number % 10 == 0


def _request(numbers: Sequence[int], prompt: str) -> bytes:
    request = ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    resource.resource.attributes.add(key="service.name").value.string_value = "flood"
    scope = resource.scope_spans.add()
    scope.spans.extend(span for number in numbers for span in _trace(number, prompt))
    return bytes(request.SerializeToString())


def _trace(number: int, prompt: str) -> Iterator[Span]:
    for at in range(SPANS_A_TRACE):
        start = _START + number * 1_000_000_000 + at * 1_000_000
        in_error = at == 0 and failed(number)
        text = KeyValue(key="gen_ai.prompt", value=AnyValue(string_value=prompt))
        yield Span(
            attributes=[text] if prompt else [],
            trace_id=_trace_id(number),
            span_id=_span_id(at),
            parent_span_id=_span_id(0) if at else b"",
            name="flood" if at == 0 else f"step {at}",
            kind=Span.SpanKind.SPAN_KIND_INTERNAL,
            start_time_unix_nano=start,
            end_time_unix_nano=start + 500_000,
            status=Status(code=Status.STATUS_CODE_ERROR if in_error else Status.STATUS_CODE_UNSET),
        )


def _trace_id(number: int) -> bytes:
    # The last bytes are what samplers look at, and must be as different as random ones.
    return number.to_bytes(8, "big") + (number * 0x9E3779B97F4A7C15 % 2**64).to_bytes(8, "big")


def _span_id(at: int) -> bytes:
    return (at + 1).to_bytes(8, "big")


class Sending:
    """Requests on their way to a server, from four threads, each repeated until it is acknowledged.

    Args:
        url: of the server, without a path.
        requests: bodies for ``/v1/traces``.
        seconds: that all of them may take.
        held_back: that many requests, the last ones, go when ``finish`` says so; a server that is killed before is
            killed amid the flow, however fast it is.
    """

    def __init__(self, url: str, requests: Sequence[bytes], *, seconds: float, held_back: int = 0) -> None:
        self._netloc = urlsplit(url).netloc
        self._deadline = time.monotonic() + seconds
        self._acknowledged = threading.Semaphore(0)
        self.refusals: set[int] = set()
        """The retryable codes that were answered."""
        self._pool = ThreadPoolExecutor(_SENDERS)
        at_once = len(requests) - held_back
        self._held_back = requests[at_once:]
        self._done = [self._pool.submit(self._send, request) for request in requests[:at_once]]

    def wait_for(self, count: int) -> None:
        """Wait until this many more requests are acknowledged."""
        for _ in range(count):
            assert self._acknowledged.acquire(timeout=max(0.0, self._deadline - time.monotonic())), self.problem()

    def finish(self) -> None:
        """Wait until every request is acknowledged."""
        self._done += [self._pool.submit(self._send, request) for request in self._held_back]
        self._pool.shutdown()
        for done in self._done:
            done.result()

    def problem(self) -> str:
        """What went wrong first, if something did."""
        return next((str(done.exception()) for done in self._done if done.done() and done.exception()), "too slow")

    def _send(self, request: bytes) -> None:
        answer = ""
        while time.monotonic() < self._deadline:
            try:
                status, answer = self._post(request)
            except (OSError, HTTPException) as exc:
                answer = repr(exc)
            else:
                if status == 200:
                    self._acknowledged.release()
                    return
                assert status in _RETRYABLE, f"{status}: {answer}"
                self.refusals.add(status)
            time.sleep(0.1)
        msg = f"not acknowledged in time; the last answer: {answer}"
        raise TimeoutError(msg)

    def _post(self, request: bytes) -> tuple[int, str]:
        connection = HTTPConnection(self._netloc, timeout=10)
        try:
            connection.request("POST", "/v1/traces", request, {"Content-Type": "application/x-protobuf"})
            response = connection.getresponse()
            return response.status, response.read().decode(errors="replace")
        finally:
            connection.close()
