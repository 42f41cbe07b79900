"""`make crash`: run the parts side by side, print one table, and fail where something was not whole.

::

    python -m tests.crash                 # all parts, the size that CI runs
    python -m tests.crash --full sqlite   # one part, the long run by hand
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial

from tests.crash import part_postgresql, part_rollout, part_sqlite
from tests.crash.progress import say
from tests.crash.table import Part, Took, shown

PARTS: Mapping[str, Callable[[bool], Part]] = {
    "sqlite": part_sqlite.run,
    "postgresql": part_postgresql.run,
    "rollout": part_rollout.run,
}
_ON_TIME = "rollout"
"""The part that judges by the clock, and mostly waits; the others take what it leaves of the machine."""


def main(words: list[str]) -> int:
    """The exit code: 0 when every part was good, 1 otherwise."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash")
    parser.add_argument("--full", action="store_true", help="the long run by hand")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all by default")
    asked = parser.parse_args(words)
    if strangers := set(asked.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(strangers))}")
    names = asked.parts or list(PARTS)
    with ProcessPoolExecutor(len(names), mp_context=multiprocessing.get_context("spawn")) as pool:
        found = list(pool.map(partial(_run, asked.full), names, [PARTS[name] for name in names]))
    print(shown(found))  # noqa: T201 - the table is what the run is for
    return 0 if all(part.good for part in found) else 1


def _run(full: bool, name: str, run: Callable[[bool], Part]) -> Part:
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


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
