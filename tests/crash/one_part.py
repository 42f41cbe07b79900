"""One part of the run, in a process of its own."""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Callable
from dataclasses import replace

from tests.crash.progress import say
from tests.crash.table import Part, Took

_ON_TIME = "rollout"
"""The part that judges by the clock, and mostly waits; the others take what it leaves of the machine."""


def run_part(full: bool, name: str, run: Callable[[bool], Part]) -> Part:
    """What it found, and how long it took; a part that breaks off has failed."""
    if name != _ON_TIME:
        os.nice(10)
    say(f"{name}: begins")
    began = time.monotonic()
    try:
        part = run(full)
    except Exception as error:  # noqa: BLE001 - the other parts are still worth running
        traceback.print_exc()
        part = Part(failures=(f"{name} broke off: {error!r}",))
    part = replace(part, took=Took(name, time.monotonic() - began))
    say(f"{name}: {'good' if part.good else 'FAILED'}")
    return part
