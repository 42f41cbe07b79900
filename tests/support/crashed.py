"""A writer killed in the middle of a transaction."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CRASH = """
import os, signal, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA cache_size=2")
connection.execute("BEGIN IMMEDIATE")
for n in range(200):
    connection.execute("INSERT INTO documents VALUES (?, ?, '')", (str(n), b"x" * 900))
os.kill(os.getpid(), signal.SIGKILL)
"""


def crashed_writer(path: Path) -> None:
    """Leave a hot journal: pages spilled into the file, the journal synced, the writer killed."""
    subprocess.run([sys.executable, "-c", CRASH, str(path)], check=False, timeout=60)
    assert path.with_name(f"{path.name}-journal").stat().st_size > 0
