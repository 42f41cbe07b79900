"""`make bench`: every comparison in one run; exit 1 where a bar is missed.

::

    python -m tests.bench                    # all
    python -m tests.bench command_line ssh   # some
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.bench import (
    api_nodes,
    attack,
    command_line,
    device_counts,
    exporter_in_use,
    exporter_scrapes,
    folding,
    ssh_nodes,
    watching,
)
from tests.bench.table import Measured, shown

PARTS: Mapping[str, Callable[[Path], Iterator[Measured]]] = {
    "command_line": command_line.measure,
    "fold": folding.measure,
    "ssh": ssh_nodes.measure,
    "api": api_nodes.measure,
    "attack": attack.measure,
    "exporter": exporter_scrapes.measure,
    "exporter_in_use": exporter_in_use.measure,
    "devices": device_counts.measure,
    "watching": watching.measure,
}


def main(words: list[str]) -> int:
    """The exit code: 0 when every bar is kept, 1 otherwise."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all by default")
    asked = parser.parse_args(words).parts or PARTS
    if strangers := set(asked) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(strangers))}")
    found: list[Measured] = []
    for name in asked:
        with TemporaryDirectory(prefix="renewctl-bench-") as folder:
            for one in PARTS[name](Path(folder)):
                found.append(one)
                print(f"{one.what}: {one.ratio:.4f}", file=sys.stderr, flush=True)  # noqa: T201 - progress
    print(shown(found))  # noqa: T201 - the table is what the run is for
    return 0 if all(one.holds for one in found) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
