"""A host of its own for a playbook: a real systemd as process 1, on a copy-on-write view of this machine's files.

::

    with host(tmp_path, {"/srv/mdm": tmp_path / "mdm"}) as machine:
        machine.run("systemctl", "is-active", "x.service")
        machine.variables            # how Ansible reaches it
        machine.path("/etc/passwd")  # its file, seen from here

It has namespaces for processes, mounts, names, IPC and control groups; its network is this machine's. This checkout and
/root are hidden from it, so that nothing of the controller's is found there by mistake. Nothing it writes reaches
this machine, and all its processes end with it.

Needs root, `systemd`, `unshare`, `nsenter`, and a kernel that lets root mount overlayfs and cgroup2, as in CI.
"""

from __future__ import annotations

import itertools
import os
import shlex
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

_COUNT = itertools.count()
_START_SECONDS = 240.0

_PREPARE = r"""
set -e
name=$1 folder=$2 checkout=$3 binds=$4
mkdir -p "$folder"; mount -t tmpfs tmpfs "$folder"
mkdir "$folder/upper" "$folder/work" "$folder/root" "$folder/cgroup"
# A control group of its own below ours: whoever stops a unit kills what is in that unit's group.
mount -t cgroup2 cgroup2 "$folder/cgroup"
mkdir "$folder/cgroup/$name"; echo 0 > "$folder/cgroup/$name/cgroup.procs"
umount "$folder/cgroup"
mount -t overlay overlay -o "lowerdir=/,upperdir=$folder/upper,workdir=$folder/work" "$folder/root"
exec unshare --pid --fork --kill-child --uts --ipc --cgroup --mount-proc="$folder/root/proc" sh -c "$5" sh "$@"
"""

_BOOT = r"""
set -e
folder=$2 checkout=$3 binds=$4
cd "$folder/root"
# /sys and /proc/sys are the machine's: read only, as containers have them.
mount -t sysfs -o ro sysfs sys
mount --bind proc/sys proc/sys; mount -o remount,bind,ro proc/sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs dev
mkdir dev/pts dev/shm
for node in null zero full random urandom tty; do touch "dev/$node"; mount --bind "/dev/$node" "dev/$node"; done
mount -t devpts -o newinstance,ptmxmode=666 devpts dev/pts; ln -s pts/ptmx dev/ptmx
mount -t tmpfs -o mode=1777 tmpfs dev/shm
mount -t tmpfs -o mode=755 tmpfs run
eval "$binds"
mount -t tmpfs -o mode=1777 tmpfs tmp
mkdir -p "./$checkout"  # it may lie in a folder that is another one here
mount -t tmpfs -o mode=755 tmpfs "./$checkout"
mount -t tmpfs -o mode=700 tmpfs root
rm -rf etc/systemd/system etc/machine-id; mkdir -p etc/systemd/system; : > etc/machine-id
for unit in systemd-modules-load systemd-remount-fs systemd-update-utmp; do
  ln -s /dev/null "etc/systemd/system/$unit.service"  # the machine's own affairs
done
printf '[Unit]\nDescription=what a test starts\nRequires=basic.target\nAfter=basic.target\n' > etc/systemd/system/test.target
mkdir .before; pivot_root . .before; umount -l /.before; rmdir /.before
mount --make-rshared /  # systemd mounts credentials in a child
exec env -i container=renewctl-test PATH=/usr/sbin:/usr/bin:/sbin:/bin \
  /lib/systemd/systemd --unit=test.target --log-target=null
"""


@dataclass(frozen=True)
class Host:
    """A running host.

    Attributes:
        pid: of its process 1, as this machine counts.
        connect: a program that Ansible takes for `ssh`.
    """

    pid: int
    connect: Path

    @property
    def variables(self) -> dict[str, object]:
        """Connection variables, as an Ansible inventory writes them."""
        return {
            "ansible_connection": "ssh",
            "ansible_ssh_executable": str(self.connect),
            "ansible_ssh_transfer_method": "piped",
            "ansible_python_interpreter": "/usr/bin/python3",
        }

    def path(self, inside: str) -> Path:
        """A file of the host, as seen from here; absolute links in it would lead to this machine's."""
        return Path(f"/proc/{self.pid}/root") / inside.lstrip("/")

    def command(self, *words: str) -> list[str]:
        """The words that run a command there, as root."""
        return [str(self.connect), shlex.join(words)]

    def run(self, *words: str, check: bool = True) -> str:
        """Run a command there, as root; what it printed."""
        done = subprocess.run(self.command(*words), capture_output=True, text=True, timeout=300, check=False)
        assert not check or done.returncode == 0, (words, done.stdout, done.stderr)
        return done.stdout + done.stderr


@contextmanager
def host(folder: Path, shared: Mapping[str, Path] | None = None) -> Iterator[Host]:
    """Boot it; at the end everything in it is gone.

    Args:
        folder: for what belongs to it on this machine.
        shared: absolute path there -> folder of this machine.
    """
    assert os.geteuid() == 0, "a host of its own needs root: run the tests as root, as CI does"
    name = f"renewctl-test-{os.getpid()}-{next(_COUNT)}"
    binds = "\n".join(
        f"mkdir -p .{shlex.quote(inside)}; mount --rbind {shlex.quote(str(outside))} .{shlex.quote(inside)}"
        for inside, outside in (shared or {}).items()
    )
    words = ["sh", "-c", _PREPARE, "sh", name, str(folder / "host"), str(ROOT), binds, _BOOT]
    with (folder / "host.log").open("wb") as log:
        boot = subprocess.Popen(
            ["unshare", "--mount", "--propagation=private", *words],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        yield _booted(folder, boot)
    finally:
        boot.kill()  # its child, process 1 of the host, dies with it (--kill-child), and so does all in there
        boot.wait()
        _remove_group(folder, name)


def _booted(folder: Path, boot: subprocess.Popen[bytes]) -> Host:
    ends = time.monotonic() + _START_SECONDS
    connect = folder / "into-host"
    while time.monotonic() < ends and boot.poll() is None:
        if process := _systemd_below(boot.pid):
            # Ansible says what to run in the last word, as to ssh. Root's umask is as hardened hosts have it.
            namespaces = f"--target {process} --mount --pid --uts --ipc --cgroup"
            connect.write_text(
                f"#!/bin/sh\nfor last; do :; done\nexec nsenter {namespaces} -- env -i HOME=/root"
                ' PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 sh -c "umask 077; $last"\n'
            )
            connect.chmod(0o755)
            machine = Host(process, connect)
            state = machine.run("systemctl", "is-system-running", "--wait", check=False).split()
            if state[:1] in (["running"], ["degraded"]):
                return machine
        time.sleep(0.05)
    raise AssertionError(f"the host did not start: {(folder / 'host.log').read_text(errors='replace')}")


def _systemd_below(pid: int) -> int | None:
    with suppress(OSError):  # commands that prepare the host come and go
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            if Path(f"/proc/{child}/comm").read_text() == "systemd\n":
                return int(child)
    return None


def _remove_group(folder: Path, name: str) -> None:
    """Its control groups are kept by the kernel until somebody removes them, the innermost first."""
    point = folder / "groups"
    point.mkdir()
    remove = 'mount -t cgroup2 cgroup2 "$1"; find "$1/$2" -depth -type d -exec rmdir {} +'
    ends = time.monotonic() + 60
    while True:  # the dead are buried one after the other
        done = subprocess.run(
            ["unshare", "--mount", "sh", "-c", remove, "sh", str(point), name],
            capture_output=True,
            check=False,
        )
        if done.returncode == 0:
            return
        assert time.monotonic() < ends, done.stderr.decode()
        time.sleep(0.05)
