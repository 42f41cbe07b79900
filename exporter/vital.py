"""Threads without which the exporter would answer for ever, and show what it saw last."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable

log = logging.getLogger("exporter")


def vital_thread(name: str, work: Callable[[], None]) -> threading.Thread:
    """A thread whose fault ends the process: whoever started that, starts it again."""

    def working() -> None:
        try:
            work()
        except Exception as error:
            # No traceback: it may hold what a node sent. `debug` tells all.
            log.error("the exporter ends, as its %s did: %s", name, type(error).__name__)  # noqa: TRY400
            log.debug("%s", name, exc_info=error)
            os._exit(1)  # nothing else ends it from here without asking the others

    return threading.Thread(target=working, name=name, daemon=True)
