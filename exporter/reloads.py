"""Whether the configuration in use is the one that was last read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from prometheus_client.metrics_core import Metric
from prometheus_client.process_collector import PROCESS_COLLECTOR
from prometheus_client.registry import Collector

from exporter.families import seconds, single
from exporter.metrics import RELOAD_SUCCESS, RELOAD_SUCCESSFUL


@dataclass
class Reloads(Collector):
    """What each answer tells of the process itself, as of now.

    Attributes:
        succeeded_at: when what is in use was read.
        successful: the last attempt to read it went well.
    """

    succeeded_at: datetime
    successful: bool = True

    def collect(self) -> Iterable[Metric]:
        """The process, and its configuration."""
        yield from PROCESS_COLLECTOR.collect()
        yield single(RELOAD_SUCCESSFUL, self.successful)
        yield single(RELOAD_SUCCESS, seconds(self.succeeded_at))
