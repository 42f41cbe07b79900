# Copyright: renewctl contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An Ansible worker must not outlive those who watch it: no API node can be fenced against an orphan."""

from __future__ import annotations

import ctypes
import json
import multiprocessing
import os
import select
import signal
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager

from renewctl.errors import Attention
from renewctl.reasons import Reason

#: prctl(2): the signal this process gets when its parent ends; from linux/prctl.h.
PR_SET_PDEATHSIG = 1

#: Carries the number of the inherited pipe; set by renewctl, absent for ansible-playbook alone.
EVENTS_FD = "RENEWCTL_EVENTS_FD"

#: Carries the number of an inherited file that tells until when changes may begin (float64, CLOCK_BOOTTIME).
PERMIT_FD = "RENEWCTL_PERMIT_FD"


#: Made before the workers are forked, so that all of them share it: long lines on a full pipe would mix.
_ONE_LINE = multiprocessing.get_context("fork").Lock()

#: Seconds; a worker that was killed while it wrote must not hold up the others for ever.
_LINE_SECONDS = 5.0

_FLOAT_BYTES = 8


@contextmanager
def bound_to_parent() -> Iterator[None]:
    """Within the block, be killed when ansible-playbook dies; at once if it is dead already."""
    prctl = ctypes.CDLL(None).prctl
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    parent = multiprocessing.parent_process()
    if parent is not None and os.getppid() != parent.pid:
        os.kill(os.getpid(), signal.SIGKILL)  # it died between the fork and the line above
    try:
        yield
    finally:
        prctl(PR_SET_PDEATHSIG, 0)


def events_fd() -> int | None:
    """The pipe to renewctl, or None where ansible-playbook was started by a person."""
    number = os.environ.get(EVENTS_FD, "")
    return int(number) if number.isdecimal() else None


def tell(event: str, **values: object) -> bool:
    """Write one event to renewctl's pipe; False where there is none, or nobody reads it any more."""
    descriptor = events_fd()
    if descriptor is None:
        return False
    line = json.dumps({"event": event, **values}, default=str) + "\n"
    held = _ONE_LINE.acquire(timeout=_LINE_SECONDS)
    try:
        os.write(descriptor, line.encode())
    except OSError:
        return False  # before the next change `require_watched` stops the run
    finally:
        if held:
            _ONE_LINE.release()
    return True


def require_watched() -> None:
    """Called before every change, and once more right before an API node is sent a pair.

    Raises:
        Attention: `controller_gone`: renewctl no longer reads our events, or its run has been taken over or
            may have been, while it and we were stopped: nothing more is changed.
    """
    permit = os.environ.get(PERMIT_FD, "")
    if permit.isdecimal():
        told = os.pread(int(permit), _FLOAT_BYTES, 0)
        until = struct.unpack("<d", told)[0] if len(told) == _FLOAT_BYTES else 0.0
        if not time.clock_gettime(time.CLOCK_BOOTTIME) < until:  # nor where it is no number at all
            raise Attention(Reason.CONTROLLER_GONE)
    descriptor = events_fd()
    if descriptor is None:
        return
    poll = select.poll()
    poll.register(descriptor, 0)
    if poll.poll(0):
        raise Attention(Reason.CONTROLLER_GONE)
