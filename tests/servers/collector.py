"""A real OpenTelemetry Collector with the project's own config files."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from urllib.request import urlopen

from tests.servers.builds import built
from tests.servers.ports import free_port
from tests.servers.service import Service, is_ok

CONFIGS = Path(__file__).parents[2] / "collector-config"


class Collector(Service):
    """A Collector that listens on ports of its own.

    Args:
        configs: names of files in ``collector-config/``, merged in this order.
        environ: what the files ask for besides the Collector's own ports and storage.

    Raises:
        ServerMissingError: the Collector is not built.
    """

    def __init__(self, *configs: str, environ: Mapping[str, str] | None = None) -> None:
        self._program = built("collector")
        super().__init__()
        self._configs = configs
        self.grpc = f"127.0.0.1:{free_port()}"
        self.http = f"http://127.0.0.1:{free_port()}"
        self._health = f"127.0.0.1:{free_port()}"
        self._metrics = f"127.0.0.1:{free_port()}"
        self._environ = dict(environ or {})

    def command(self) -> list[str]:
        return [str(self._program), *config_arguments(*self._configs)]

    def environ(self) -> Mapping[str, str]:
        return {
            "COLLECTOR_OTLP_GRPC": self.grpc,
            "COLLECTOR_OTLP_HTTP": self.http.removeprefix("http://"),
            "COLLECTOR_HEALTH": self._health,
            "COLLECTOR_METRICS_PORT": self._metrics.rpartition(":")[2],
            "COLLECTOR_STORAGE": str(self.folder / "storage"),
            **self._environ,
        }

    def answers(self) -> bool:
        return is_ok(f"http://{self._health}/")

    def complaints(self) -> str:
        """The last errors and warnings of its log."""
        return "\n".join([line for line in self.log().splitlines() if re.match(r"\S+\t(error|warn)\t", line)][-20:])

    def metric(self, name: str, label: str = "") -> float:
        """One of the Collector's own counters, summed over the lines with this label; 0 if it has counted nothing."""
        with urlopen(f"http://{self._metrics}/metrics", timeout=30) as response:
            lines = response.read().decode().splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if re.match(rf"{name}\b", line) and label in line)


def config_arguments(*configs: str) -> list[str]:
    """The command line's words for these files of ``collector-config/``."""
    return [f"--config={CONFIGS / config}" for config in configs]


def validate(*configs: str, environ: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Ask the real Collector what it thinks of config files."""
    command = [str(built("collector")), "validate", *config_arguments(*configs)]
    return subprocess.run(command, env=dict(environ), capture_output=True, text=True, timeout=60, check=False)
