"""One parser under libFuzzer (atheris): inputs that reach new lines of our Python become the next ones' parents.

`python -m tests.hostile.coverage_led NAME CORPUS [libFuzzer's options]`; no limits but libFuzzer's own.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(
    include=["renewctl", "exporter", "ansible_collections", "plistlib", "tarfile", "zipfile"]
):
    from tests.hostile.table import named, seeds

    PARSER = named(sys.argv[1])
    MADE = PARSER.make()


def feed(data: bytes) -> None:
    """What is not refused as documented ends the run, its input kept."""
    try:
        MADE.take(data)
    except PARSER.refuses:
        return


def main() -> None:
    """Begin from the good examples and what was found before."""
    corpus = Path(sys.argv[2])
    corpus.mkdir(parents=True, exist_ok=True)
    for data in (*MADE.good, *(path.read_bytes() for path in seeds(PARSER))):
        (corpus / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)
    atheris.Setup([sys.argv[0], str(corpus), *sys.argv[3:]], feed)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
