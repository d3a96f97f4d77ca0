"""A real Apache Kafka: one broker that is its own controller."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import uuid
from collections.abc import Mapping
from pathlib import Path

from tests.servers.builds import built
from tests.servers.missing import ServerMissingError
from tests.servers.ports import free_port
from tests.servers.service import Service

_CLUSTER_ID = "b3RlbF9ydW5zLXRlc3RzIQ"  # 16 bytes in base64, as Kafka wants it
_PARTITIONS = 3
_PROPERTIES = """
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{controller}
listeners=PLAINTEXT://{broker},CONTROLLER://{controller}
advertised.listeners=PLAINTEXT://{broker}
controller.listener.names=CONTROLLER
log.dirs={folder}/logs
num.partitions={partitions}
auto.create.topics.enable=true
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
"""


class Kafka(Service):
    """A broker whose topics have three partitions and are made when first used.

    Raises:
        ServerMissingError: Kafka is not built, or nothing here can run it.
    """

    def __init__(self) -> None:
        libraries = built("kafka")
        if shutil.which("java") is None:
            msg = "kafka cannot run: java is not on the PATH; install a Java runtime, 17 or newer"
            raise ServerMissingError(msg)
        super().__init__()
        self.broker = f"127.0.0.1:{free_port()}"
        self._java = ["java", "-Xmx512m", "-cp", f"{libraries}/*"]
        self._properties = self.folder / "server.properties"
        controller = f"127.0.0.1:{free_port()}"
        self._properties.write_text(
            _PROPERTIES.format(broker=self.broker, controller=controller, folder=self.folder, partitions=_PARTITIONS)
        )
        format_storage = ["kafka.tools.StorageTool", "format", "-t", _CLUSTER_ID, "-c", str(self._properties)]
        subprocess.run([*self._java, *format_storage], check=True, stdout=subprocess.DEVNULL, timeout=60)

    def command(self) -> list[str]:
        return [*self._java, "kafka.Kafka", str(self._properties)]

    def environ(self) -> Mapping[str, str]:
        return {}

    def new_topics(self) -> dict[str, str]:
        """What kafka.yaml asks for, with topics that nobody has used; the first message makes them."""
        name = uuid.uuid4().hex
        topics = {"KAFKA_TRACES_TOPIC": f"spans-{name}", "KAFKA_LOGS_TOPIC": f"logs-{name}"}
        return {"KAFKA_BROKERS": self.broker} | topics

    def keys_of(self, topic: str) -> list[set[str]]:
        """The keys of a topic's messages, partition by partition, as they lie on the disk."""
        segments = sorted((self.folder / "logs").glob(f"{topic}-*/*.log"))
        return [_keys_in(self._read_segment(segment)) for segment in segments]

    def _read_segment(self, segment: Path) -> str:
        dump = ["kafka.tools.DumpLogSegments", "--print-data-log", "--files", str(segment)]
        done = subprocess.run([*self._java, *dump], check=True, capture_output=True, timeout=60)
        return done.stdout.decode(errors="replace")

    def answers(self) -> bool:
        host, port = self.broker.split(":")
        try:
            socket.create_connection((host, int(port)), timeout=5).close()
        except OSError:
            return False
        return True


def _keys_in(dumped: str) -> set[str]:
    return set(re.findall(r" key: (\S+) ", dumped))
