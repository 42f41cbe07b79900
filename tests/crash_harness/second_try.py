"""renewctl with a key store that tries twice and has no word for a second failure: an error that stays must show it."""

from __future__ import annotations

import sys
from pathlib import Path

from renewctl.keys.keystore import KeyFolder
from tests.crash.kills import child

_sound = KeyFolder._write


def _write_twice(folder: KeyFolder, final: Path, content: bytes) -> None:
    try:
        _sound(folder, final, content)
    except OSError:
        try:
            _sound(folder, final, content)
        except OSError:
            raise RuntimeError from None


KeyFolder._write = _write_twice  # type: ignore[method-assign]

if __name__ == "__main__":
    sys.exit(child.main(sys.argv[1:]))
