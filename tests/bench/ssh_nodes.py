"""Ten file nodes over SSH: our one call a node against six separate tasks."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.bench.playing import hosts_file, stock
from tests.bench.table import Measured
from tests.bench.turns import by_turns
from tests.support.playbook_world import TOKEN, World, world
from tests.support.sandbox_parts import push_service
from tests.support.sshd import Sshd, sshd

_COUNT, _ROUNDS = 10, 3


def measure(folder: Path) -> Iterator[Measured]:
    """A wave of ten, the run already fenced: switch and read-back, one call a node, against six tasks."""
    with (
        push_service(folder / "pushes") as pushes,
        world(folder, pushes) as mdm,
        sshd(folder / "sshd") as ssh,
    ):
        os.environ.update(ssh.environment | {"ANSIBLE_SSH_ARGS": _shared(ssh, folder)})
        hosts = {f"f{number}": _host(mdm, ssh, f"f{number}") for number in range(_COUNT)}
        rival = hosts_file(
            mdm.folder, {name: {**ssh.variables, "folder": str(mdm.folder / f"s{name}")} for name in hosts}
        )
        for name in hosts:
            (mdm.folder / f"s{name}").mkdir()
        run = iter(range(1, 100))

        def ours() -> None:
            number = next(run)
            new, old = (mdm.new, mdm.old) if number % 2 else (mdm.old, mdm.new)
            pair = {"renewctl_pair": new.reference, "renewctl_previous": old.reference}
            told = {"hosts": hosts, "renewctl_run": number, "renewctl_token": TOKEN, "renewctl_shown": True}
            _well(mdm.run("rollout", renewctl_waves=["100%"], **told, **pair))

        yield by_turns(
            "roll-out, 10 SSH nodes, fence included / six separate tasks",
            ours,
            lambda: stock(
                "ssh.yml", rival, {"certificate": str(mdm.new.certificate), "key": str(mdm.new.key)}
            ),
            bar=0.35,
            rounds=_ROUNDS,
        )


def _shared(ssh: Sshd, folder: Path) -> str:
    """Connections are kept for the next task, as Ansible and we do; not long after the bench."""
    kept = ssh.environment["ANSIBLE_SSH_ARGS"].replace("ControlMaster=no", "ControlMaster=auto")
    return f"{kept} -o ControlPersist=5s -o ControlPath={folder}/%C"


def _well(ended: Any) -> None:
    outcomes = [result.outcome for result in ended.results.values()]
    if ended.exit_code != 0 or outcomes != ["proven"] * _COUNT:
        raise SystemExit(f"our roll-out: exit {ended.exit_code}, {outcomes}\n{ended.tail}")


def _host(mdm: World, ssh: Sshd, name: str) -> dict[str, Any]:
    folder = mdm.folder / name
    folder.mkdir()
    (folder / "push.pem").write_bytes(mdm.old.pem)
    (folder / "push.key").write_bytes(mdm.old.key.read_bytes())
    (folder / "push.key").chmod(0o600)
    paths = {"certificate": str(folder / "push.pem"), "key": str(folder / "push.key")}
    install = {"paths": paths, "variables": ssh.variables}
    return {"renewctl_node": {"name": name, "product": "files", "install": install}}
