"""`make crash`: run the parts side by side, print one table, and fail where something was not whole.

::

    python -m tests.crash                 # all parts, the size that CI runs
    python -m tests.crash --full sqlite   # one part, the long run by hand
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from tests.crash import part_postgresql, part_rollout, part_sqlite
from tests.crash.one_part import run_part
from tests.crash.table import Part, shown

PARTS: Mapping[str, Callable[[bool], Part]] = {
    "sqlite": part_sqlite.run,
    "postgresql": part_postgresql.run,
    "rollout": part_rollout.run,
}


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
        found = list(pool.map(partial(run_part, asked.full), names, [PARTS[name] for name in names]))
    print(shown(found))  # noqa: T201 - the table is what the run is for
    return 0 if all(part.good for part in found) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
