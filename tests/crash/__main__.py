"""`make crash`: run the parts side by side, print one table, and fail where something was not whole.

::

    python -m tests.crash                 # all parts, the size that CI runs
    python -m tests.crash --full sqlite   # one part, the long run by hand
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from tests.crash import netns, part_postgresql, part_rollout, part_sqlite
from tests.crash.one_part import run_part
from tests.crash.table import Part, shown
from tests.crash.workers import PATIENCE, Workers, leave_when_told

PARTS: Mapping[str, Callable[[bool], Part]] = {
    "sqlite": part_sqlite.run,
    "postgresql": part_postgresql.run,
    "rollout": part_rollout.run,
}


def main(words: list[str]) -> int:
    """The exit code: 0 when every part was good, 1 otherwise.

    Raises:
        SystemExit: 128 and the number of the signal that ended it; nothing it started is left then.
    """
    parser = argparse.ArgumentParser(prog="python -m tests.crash")
    parser.add_argument("--full", action="store_true", help="the long run by hand")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all by default")
    asked = parser.parse_args(words)
    if strangers := set(asked.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(strangers))}")
    leave_when_told()
    try:
        found = _run(asked.parts or list(PARTS), full=asked.full)
    except SystemExit:
        netns.sweep()  # of parts that had to be killed
        raise
    print(shown(found))  # noqa: T201 - the table is what the run is for
    return 0 if all(part.good for part in found) else 1


def _run(names: Sequence[str], *, full: bool) -> list[Part]:
    """Each in a process group of its own: a Ctrl-C is for us, and we end them in order."""
    with Workers(len(names), start="spawn", patience=2 * PATIENCE, initializer=os.setpgrp) as pool:
        return list(pool.map(partial(run_part, full), names, [PARTS[name] for name in names]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
