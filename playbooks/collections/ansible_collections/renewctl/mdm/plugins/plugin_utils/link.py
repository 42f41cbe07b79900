# Copyright: renewctl contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The way to a node: a link that is cut ends a step in bounded time, whatever ssh options people have set."""

from __future__ import annotations

import os
import re
import shlex
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleConnectionFailure

#: With these ssh notices a cut link within 20 s; by itself it waits for ever. They come last, and ssh takes
#: the first it is given: whoever has set them keeps theirs. They count only once somebody is signed in, and
#: not at all over a shared connection that was opened without them: hence `within`.
ALIVE = "-o ServerAliveInterval=5 -o ServerAliveCountMax=3"

#: To sign in and to load Python, seconds, besides what the connection itself allows for connecting.
SIGN_IN_SECONDS = 15.0

#: Characters of what somebody else's program says.
LONGEST = 200

#: As much of it is looked at: a node may say a megabyte.
_TAIL = 10 * LONGEST

_FOREWORDS = re.compile(r"^(?:.*\b(?:over|via) ssh: |Task failed: )")


class _Over(BaseException):
    """The time is over. No `Exception`: Ansible's connections try again after those."""


def prepare(connection: Any) -> None:
    """Have ssh notice a cut link, and share no connection where its socket has no place."""
    if connection.transport != "ssh":
        return
    options = [connection.get_option("ssh_extra_args") or "", ALIVE]
    if not _can_be_written(connection.get_option("control_path_dir")):  # HOME is read-only, say
        options.append("-o ControlPath=none")
    connection.set_option("ssh_extra_args", " ".join(options).strip())


@contextmanager
def within(seconds: float, connection: Any) -> Iterator[None]:
    """End what is asked over the connection once a node cannot be at work any more.

    Args:
        seconds: how long the node itself may take at most.

    Raises:
        AnsibleConnectionFailure: no answer in time: for Ansible the node is unreachable, what it did unknown.
    """
    if signal.getitimer(signal.ITIMER_REAL)[0] > 0:  # somebody's own ANSIBLE_TASK_TIMEOUT
        yield
        return
    allowed = seconds + SIGN_IN_SECONDS
    if connection.transport == "ssh":
        allowed += float(connection.get_option("timeout"))
    before, handler = _children(), signal.signal(signal.SIGALRM, _ring)
    try:
        try:
            signal.setitimer(signal.ITIMER_REAL, allowed)
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    except _Over:
        _hang_up(connection, _children() - before)
        raise AnsibleConnectionFailure(f"no answer within {allowed:.0f} s") from None
    finally:
        signal.signal(signal.SIGALRM, handler)


def try_by_hand(host: str, variables: Mapping[str, Any]) -> str:
    """The command that shows whether ssh gets through, without options that may hold secrets."""
    words = ["ssh"]
    if port := variables.get("ansible_port"):
        words += ["-p", str(port)]
    if key := variables.get("ansible_ssh_private_key_file"):
        words += ["-i", str(key)]
    address = str(variables.get("ansible_host") or host)
    user = variables.get("ansible_user")
    return shlex.join([*words, f"{user}@{address}" if user else address, "true"])


def last_words(text: str, lines: int = 1) -> str:
    """The last lines of what ssh, sudo or a shell said, without what Ansible says before it; safe to show."""
    last = [line.strip() for line in text[-_TAIL:].splitlines() if line.strip()][-lines:]
    said = _FOREWORDS.sub("", "; ".join(last))
    return "".join(one for one in said if one.isprintable())[:LONGEST]


def _ring(*_: object) -> None:
    raise _Over


def _can_be_written(folder: str) -> bool:
    folder = os.path.expanduser(folder)
    try:
        os.makedirs(folder, 0o700, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK)


def _children() -> set[int]:
    lists = Path("/proc/self/task").glob("*/children")
    return {int(child) for each in lists for child in each.read_text(encoding="ascii").split()}


def _hang_up(connection: Any, children: set[int]) -> None:
    """Nothing is sent any more, and the next step does not wait on the same dead connection."""
    for child in children:
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGTERM)
    if connection.transport == "ssh":
        connection.reset()
