"""`exporter/Containerfile`, its steps carried out one by one in a chroot; the last stage then runs as it says.

This machine's root, copy-on-write, stands in for the base image. No container engine takes part: that the file
builds an image with one is not tested.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support import deployment
from tests.support.exporter_process import files_node, inventory
from tests.support.host import ROOT

FILE = ROOT / "exporter" / "Containerfile"

_STAGE = """
set -e
stage() {
  mkdir -p "$1/upper" "$1/work" "$1/root"
  mount -t overlay overlay -o "lowerdir=/,upperdir=$PWD/$1/upper,workdir=$PWD/$1/work" "$1/root"
  mount -t proc proc "$1/root/proc"
  mount -t tmpfs tmpfs "$1/root/root"
  mkdir -p "$1/root/srv/wheels"; mount --bind "$wheels" "$1/root/srv/wheels"
  printf "$pip_conf" > "$1/root/etc/pip.conf"
}
mount -t tmpfs tmpfs "$place"; cd "$place"
"""


def _instructions() -> Iterator[tuple[str, str]]:
    for line in FILE.read_text().splitlines():
        if line and not line.startswith("#"):
            word, _, rest = line.partition(" ")
            yield word, rest


def _last(word: str) -> str:
    return [rest for found, rest in _instructions() if found == word][-1]


def _steps(context: Path) -> tuple[str, str]:
    """A shell script of all steps, and the folder of the last stage in it."""
    lines, names = [], list[str]()
    for word, rest in _instructions():
        if word == "FROM":
            names.append(rest.partition(" AS ")[2] or "last")
            lines.append(f"stage {names[-1]}")
        elif word == "COPY":
            *source, target = rest.split()
            start = (
                f"{source.pop(0).removeprefix('--from=')}/root"
                if rest.startswith("--from=")
                else str(context)
            )
            parent = target if target.endswith("/") else str(Path(target).parent)
            lines.append(
                f"mkdir -p {names[-1]}/root{parent}; cp -a {start}/{source[0].lstrip('/')} {names[-1]}/root{target}"
            )
        elif word == "RUN":
            lines.append(f"chroot {names[-1]}/root /bin/sh -c {shlex.quote(rest)}")
        else:
            assert word in {"ARG", "USER", "EXPOSE", "ENTRYPOINT", "CMD"}, f"this test does not know {word}"
    return "\n".join(lines), f"{names[-1]}/root"


@contextmanager
def _running(folder: Path, wheel: Path, user: str, words: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    """The last stage at work: root read-only, this account, `folder/config` at /etc/renewctl."""
    (folder / "context").mkdir()
    (folder / "place").mkdir()
    shutil.copy(wheel, folder / "context")
    steps, root = _steps(folder / "context")
    run = shlex.join(
        ["chroot", f"--userspec={user}", "--groups=", root, *json.loads(_last("ENTRYPOINT")), *words]
    )
    script = [
        f"place={folder / 'place'} wheels={deployment.libraries()} pip_conf={shlex.quote(deployment.PIP_CONF)}",
        *(_STAGE, steps),
        f"mkdir -p {root}/etc/renewctl; mount --bind {folder / 'config'} {root}/etc/renewctl",
        f"mount -o remount,bind,ro {root}/etc/renewctl; mount -o remount,ro {root}",
        f"! touch {root}/new",
        f"exec {run}",
    ]
    with (folder / "log").open("wb") as log:
        unshared = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", "\n".join(script)]
        process = subprocess.Popen(
            unshared,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        try:
            yield process
        finally:
            # A changed user is told nothing of its parent's death (prctl(2)): the first process goes, and all with it.
            for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
                os.kill(int(child), signal.SIGKILL)
            process.kill()
            process.wait()


@pytest.mark.slow
def test_its_steps_make_an_exporter_for_any_account_on_a_read_only_root(tmp_path: Path, wheel: Path) -> None:
    """From the wheel alone, with hashes; it answers as an account nobody knows, its root read-only."""
    (tmp_path / "config").mkdir()
    inventory(tmp_path / "config", [files_node("n1", Path("/srv/mdm/push.pem"))])
    (tmp_path / "config" / "inventory.yaml").rename(tmp_path / "config" / "renewctl.yaml")
    address = deployment.free_address()
    config, listen = json.loads(_last("CMD"))
    assert (config, listen) == (
        "--config.file=/etc/renewctl/renewctl.yaml",
        f"--web.listen-address=:{_last('EXPOSE')}",
    )
    with _running(tmp_path, wheel, "12345:23456", [config, f"--web.listen-address={address}"]) as process:
        page = _asked(process, f"http://{address}/metrics", tmp_path / "log")
    assert "mdm_exporter_build_info" in page
    assert '"n1"' in page


def test_it_runs_without_rights_and_gets_no_more_than_the_wheel() -> None:
    """Its account is no person's, and the one thing it takes from outside is the wheel."""
    assert _last("USER") == "65534:65534"
    outside = [rest for word, rest in _instructions() if word == "COPY" and not rest.startswith("--from=")]
    assert outside == ["renewctl-*.whl /wheel/"]


def _asked(process: subprocess.Popen[bytes], url: str, log: Path) -> str:
    ends = time.monotonic() + 240
    while time.monotonic() < ends and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=60) as answer:
                return str(answer.read().decode())
        except OSError:  # refused, or reset in the middle
            time.sleep(0.1)
    raise AssertionError(log.read_text())
