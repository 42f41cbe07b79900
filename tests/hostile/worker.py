"""The child: feeds one parser what comes on standard input, and tells what came of each.

`python -m tests.hostile.worker NAME`. In: length (4 bytes, big-endian), bytes. Out: a JSON object a line; the
first has the good examples, base64.
"""

from __future__ import annotations

import base64
import gc
import json
import os
import resource
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from renewctl import messages
from renewctl.errors import RenewctlError
from tests.hostile.parser import Parser
from tests.hostile.table import named

LENGTH_BYTES = 4
_MEGABYTE = 1024 * 1024
_ROOM_BYTES = (
    1024 * _MEGABYTE
)  # address space above what is there: the measure judges, this saves the machine


def _status(name: str) -> int:
    """A field of /proc/self/status in bytes (proc_pid_status(5)); ru_maxrss would count the parent's."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise LookupError(name)


def peak() -> int:
    """Highest resident memory of this process or of one it started, bytes."""
    return max(_status("VmHWM"), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)


def waited() -> float:
    """Seconds this thread has waited for a processor to be free (proc_pid_schedstat): no fault of a parser."""
    return int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9


def fed(parser: Parser, take: Any, data: bytes) -> tuple[str, str]:
    """Outcome and words: taken, refused (as documented), raised (a bug)."""
    try:
        take(data)
    except parser.refuses as error:
        return _told(error)
    except BaseException:  # noqa: BLE001 - a Rust library's panic is no Exception
        return "raised", "".join(traceback.format_exc()[-3000:])
    return "taken", ""


def _told(error: BaseException) -> tuple[str, str]:
    """A refusal must be one that can be told to people, in both languages."""
    if not isinstance(error, RenewctlError):
        return "refused", f"{type(error).__name__}"
    try:
        for one in (error, *error.others):
            for language in messages.LANGUAGES:
                messages.sentence(one.reason, language, one.values)
    except Exception:  # noqa: BLE001 - whatever keeps a sentence from being shown
        return "raised", f"no sentence for {error!r:.500}\n{traceback.format_exc()[-2000:]}"
    return "refused", error.reason.value


def _written(several: Sequence[bytes]) -> list[str]:
    return [base64.b64encode(data).decode() for data in several]


def main(name: str) -> None:
    """Until the end of standard input."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a parser prints is not an answer
    parser = named(name)
    made = parser.make()
    first = [fed(parser, made.take, data)[0] for data in made.good]
    baseline = peak()
    limit = _status("VmSize") + _ROOM_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    def say(**values: Any) -> None:
        out.write(json.dumps(values) + "\n")
        out.flush()

    say(good=_written(made.good), bad=_written(made.bad), told=made.told, first=first)
    gc.freeze()
    while length := sys.stdin.buffer.read(LENGTH_BYTES):
        data = sys.stdin.buffer.read(int.from_bytes(length, "big"))
        begun = time.monotonic() - waited()
        outcome, words = fed(parser, made.take, data)
        seconds = time.monotonic() - waited() - begun
        say(outcome=outcome, words=words, seconds=seconds, memory=(peak() - baseline) / _MEGABYTE)


if __name__ == "__main__":
    main(sys.argv[1])
