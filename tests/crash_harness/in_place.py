"""renewctl with a key store that writes in place: what the harness must catch."""

from __future__ import annotations

import sys
from pathlib import Path

from renewctl.keys.keystore import KeyFolder
from tests.crash.kills import child


def _write_in_place(_folder: KeyFolder, final: Path, content: bytes) -> None:
    with final.open("wb") as file:
        file.write(content)


KeyFolder._write = _write_in_place  # type: ignore[method-assign]

if __name__ == "__main__":
    sys.exit(child.main(sys.argv[1:]))
