"""A real Jaeger v2 with the project's own config file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

from tests.servers.builds import built
from tests.servers.collector import CONFIGS
from tests.servers.ports import free_port
from tests.servers.service import Service, is_ok

_NOT_FOUND = 404


class Jaeger(Service):
    """A Jaeger that keeps its traces on disk, on ports of its own.

    Raises:
        ServerMissingError: Jaeger is not built.
    """

    def __init__(self) -> None:
        self._program = built("jaeger")
        super().__init__()
        self.grpc = f"127.0.0.1:{free_port()}"
        self.url = f"http://127.0.0.1:{free_port()}"
        self._query_grpc = f"127.0.0.1:{free_port()}"
        self._health = f"127.0.0.1:{free_port()}"

    def command(self) -> list[str]:
        return [str(self._program), f"--config={CONFIGS / 'jaeger.yaml'}"]

    def environ(self) -> Mapping[str, str]:
        return {
            "JAEGER_OTLP_GRPC": self.grpc,
            "JAEGER_QUERY_HTTP": self.url.removeprefix("http://"),
            "JAEGER_QUERY_GRPC": self._query_grpc,
            "JAEGER_HEALTH": self._health,
            "JAEGER_STORAGE": str(self.folder / "storage"),
            "JAEGER_UI": str(CONFIGS / "jaeger-ui.json"),
            # If it traced itself, it would be seen at once.
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{self.grpc}",
            "OTEL_BSP_SCHEDULE_DELAY": "20",
        }

    def stop(self) -> None:
        # In order it takes ten seconds, and its files are for nobody any more.
        self.kill()
        super().stop()

    def answers(self) -> bool:
        return is_ok(f"http://{self._health}/status") and is_ok(f"{self.url}/api/services")

    def spans_of(self, trace_id: str) -> list[dict[str, Any]]:
        """A trace's spans in the words of the query API; none if Jaeger does not know the trace."""
        return spans_at(self.url, trace_id)

    def services(self) -> set[str]:
        """The names of all services that have sent it spans."""
        with urlopen(f"{self.url}/api/services", timeout=30) as response:
            return set(json.load(response)["data"] or [])


def spans_at(url: str, trace_id: str) -> list[dict[str, Any]]:
    """A trace's spans, from the Jaeger that answers at this address; none if it does not know the trace."""
    try:
        with urlopen(f"{url}/api/traces/{trace_id}", timeout=30) as response:
            answer = json.load(response)
    except HTTPError as exc:
        exc.close()
        if exc.code != _NOT_FOUND:
            raise
        return []
    return [span for trace in answer["data"] for span in trace["spans"]]
