"""A real Apache Kafka: one broker that is its own controller."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Mapping

from tests.servers.builds import built
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
        ServerMissingError: Kafka is not built.
    """

    def __init__(self) -> None:
        libraries = built("kafka")
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

    def answers(self) -> bool:
        host, port = self.broker.split(":")
        try:
            socket.create_connection((host, int(port)), timeout=5).close()
        except OSError:
            return False
        return True
