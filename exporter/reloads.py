"""Whether the configuration in use is the one that was last read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

from exporter.families import Family, seconds, single
from exporter.metrics import RELOAD_SUCCESS, RELOAD_SUCCESSFUL


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

    def collect(self) -> Iterator[Family]:
        """Whether what is in use is what was last tried, and when it was read."""
        yield single(RELOAD_SUCCESSFUL, self.successful and self.web_is_well())
        yield single(RELOAD_SUCCESS, seconds(self.succeeded_at))
