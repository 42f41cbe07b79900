"""renewctl that writes a backup straight under its name: what the harness must catch."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from renewctl.upkeep import backup_file
from renewctl.upkeep.backup_file import Backup
from tests.crash.kills import child

_sound = backup_file.write


def _write(path: Path, backup: Backup) -> str:
    with tempfile.TemporaryDirectory(dir=Path.cwd().parent) as elsewhere:  # no state folder, so no points
        whole = Path(elsewhere) / path.name
        name = _sound(whole, backup)
        path.touch(backup_file.FILE_MODE)
        path.write_bytes(whole.read_bytes())
    return name


backup_file.write = _write

if __name__ == "__main__":
    sys.exit(child.main(sys.argv[1:]))
