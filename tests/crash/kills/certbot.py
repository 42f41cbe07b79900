"""The best-known tool of the neighbourhood under the same harness: certbot's renewal, killed at every call.

Right after a kill the four live files should be of one version, whole; after the next run all of the new one.
Measured with its own storage code, in a virtual environment of its own, never in ours.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from tests.crash.kills.calls import Call, calls_in
from tests.crash.kills.certbot_parts import parts
from tests.crash.kills.office import copy
from tests.crash.kills.strace import ROOT, Done, Forks
from tests.crash.table import Row

VERSION = "5.8.0"
REQUIREMENTS = Path(__file__).with_name("certbot-requirements.txt")
"""Everything pinned, with hashes: the row can be measured again. Made anew, as `make constraints` does it, with
`echo certbot==5.8.0 | uv pip compile --universal --python-version 3.11 --generate-hashes --no-annotate -`."""

_HOME = ROOT / ".cache" / f"certbot-{VERSION}"
_PYTHON = _HOME / "bin" / "python"


def measure(folder: Path) -> Row:
    """Its row.

    Args:
        folder: to work in; made anew.
    """
    _install()
    office, saved = folder / "office", folder / "saved"
    office.mkdir(parents=True)
    forks = Forks(folder / "forks", [str(_PYTHON), "-m", "tests.crash.kills.certbot_child"])
    _require(forks.run(office, ["issue"]))
    copy(office, saved)
    points = _calls(forks.watch(office, ["renew"]), office)
    killed = consistent = healed = 0
    for at, point in enumerate(points):
        copy(saved, office)
        done = forks.kill(office, ["renew"], point)
        killed += done.killed and _calls(done, office) == points[: at + 1]
        consistent += _live(office) in {1, 2}
        forks.run(office, ["again"])
        healed += _live(office) == 2
    forks.close()
    shutil.rmtree(folder)
    name = f"renewal of certbot {VERSION}, measured here"
    return Row("beside", name, len(points), killed, consistent, healed)


def _install() -> None:
    if _PYTHON.exists():
        return
    subprocess.run([sys.executable, "-m", "venv", str(_HOME)], check=True)
    pinned = ["--quiet", "--disable-pip-version-check", "--require-hashes", "-r", str(REQUIREMENTS)]
    try:
        subprocess.run([str(_PYTHON), "-m", "pip", "install", *pinned], check=True)
    except subprocess.CalledProcessError:
        shutil.rmtree(_HOME)
        raise


def _calls(done: Done, office: Path) -> list[Call]:
    return calls_in(done.lines, str(office), lambda path: Path(path).parent.name)


def _require(done: Done) -> None:
    if done.code != 0:
        raise RuntimeError(f"certbot: {done.err}")


def _live(office: Path) -> int | None:
    """Of which version all four live files are; None: mixed, missing or torn."""
    live = office / "config" / "live" / "example.com"
    try:
        found = [(live / f"{name}.pem").read_bytes() for name in ("cert", "privkey", "chain", "fullchain")]
    except OSError:
        return None
    for version in (1, 2):
        certificate, key, chain = parts(version)
        if found == [certificate, key, chain, certificate + chain]:
            return version
    return None
