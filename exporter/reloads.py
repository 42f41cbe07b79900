"""Whether the configuration in use is the one that was last read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from exporter.families import seconds, single
from exporter.metrics import RELOAD_SUCCESS, RELOAD_SUCCESSFUL
from exporter.rendering import Part


@dataclass
class Reloads:
    """What each answer tells of the configuration, as of now.

    Attributes:
        succeeded_at: when what is in use was read.
        web_is_well: whether the web config in use, which is read again by itself, is the one in its file.
        successful: the last attempt to read the rest went well.
    """

    succeeded_at: datetime
    web_is_well: Callable[[], bool] = lambda: True
    successful: bool = True

    @property
    def part(self) -> Part:
        """Whether what is in use is what was last tried, and when it was read."""
        return _part(self.successful and self.web_is_well(), self.succeeded_at)


@lru_cache(1)
def _part(successful: bool, succeeded_at: datetime) -> Part:
    return Part((single(RELOAD_SUCCESSFUL, successful), single(RELOAD_SUCCESS, seconds(succeeded_at))))
