"""A canary roll-out over API nodes: against the same in stock modules, and against plain concurrent HTTP."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from renewctl.keys import keystore
from tests.bench.playing import hosts_file, stock
from tests.bench.table import Measured
from tests.bench.turns import by_turns
from tests.support.identities import Identity
from tests.support.playbook_world import TOPIC, PairFiles, World, world
from tests.support.sandbox_parts import push_service
from tests.support.scripted_nanomdm import PASSWORD

_ROUNDS = 3

Hosts = Mapping[str, Mapping[str, Any]]
RollOut = Callable[[Hosts], None]


def measure(folder: Path) -> Iterator[Measured]:
    """Fence, waves (1, 10 %, the rest), read-back; ours also shows the pairs to the push service and pushes."""
    with push_service(folder / "pushes") as pushes, world(folder, pushes) as mdm:
        roll_out = _roll_out(mdm)
        with _nodes(mdm, 50) as hosts:
            yield _against_stock_modules(mdm, hosts, roll_out)
        with _nodes(mdm, 100) as hosts:
            yield _against_plain_http(mdm, hosts, roll_out)


def _against_stock_modules(mdm: World, hosts: Hosts, roll_out: RollOut) -> Measured:
    inventory = hosts_file(mdm.folder, hosts)
    return by_turns(
        "canary roll-out, 50 API nodes / uri, assert, set_fact",
        lambda: roll_out(hosts),
        lambda: stock("api.yml", inventory, _stock_variables(mdm.old)),
        bar=0.10,
        rounds=1,
    )


def _against_plain_http(mdm: World, hosts: Hosts, roll_out: RollOut) -> Measured:
    urls = [host["renewctl_node"]["url"] for host in hosts.values()]
    job = {"urls": urls, "body": _pem(mdm.old), "topic": TOPIC, "password": PASSWORD}

    def plain() -> None:  # in a process of its own, as ours is
        words = [sys.executable, "-m", "tests.bench.plain_http"]
        subprocess.run(words, input=json.dumps(job), text=True, check=True, timeout=300)

    return by_turns(
        "canary roll-out, 100 API nodes / plain concurrent HTTP",
        lambda: roll_out(hosts),
        plain,
        bar=6.0,
        rounds=_ROUNDS,
        before=plain,
    )


def _pem(pair: PairFiles) -> str:
    return (pair.pem + pair.key.read_bytes()).decode()


def _roll_out(mdm: World) -> RollOut:
    """Ours; the pairs as `renewctl` names them: their keys are sealed."""
    identity = Identity(mdm.folder, "age")
    names = {"renewctl_pair": mdm.new, "renewctl_previous": mdm.old}
    pairs = {name: _sealed(pair, identity) for name, pair in names.items()}

    def play(hosts: Hosts) -> None:
        told = {"renewctl_waves": [1, "10%", "100%"], "renewctl_check_in_timeout": 30}
        ended = mdm.run("rollout", hosts=hosts, **pairs, **told)
        outcomes = {result.outcome for result in ended.results.values()}
        if ended.exit_code != 0 or outcomes != {"proven"} or len(ended.results) != len(hosts):
            raise SystemExit(f"our roll-out: exit {ended.exit_code}, {outcomes}\n{ended.tail}")

    return play


def _sealed(pair: PairFiles, identity: Identity) -> dict[str, Any]:
    sealed = pair.key.with_suffix(".age")
    sealed.write_bytes(keystore.sealed_to([identity.recipient], pair.key.read_bytes())[1])
    key = {"sealed": str(sealed), "identity": {"file": str(identity.file)}}
    return {"certificate": str(pair.certificate), "key": key}


def _stock_variables(pair: PairFiles) -> dict[str, Any]:
    return {
        "topic": TOPIC,
        "body": _pem(pair),
        "password": PASSWORD,
        "waves": [1, "10%", "100%"],
    }


@contextmanager
def _nodes(mdm: World, count: int) -> Iterator[dict[str, dict[str, Any]]]:
    folder = mdm.folder / f"{count}-nodes"
    folder.mkdir()
    (folder / "old.pem").write_bytes(mdm.old.pem)
    words = [sys.executable, "-m", "tests.bench.api_server", str(folder), TOPIC, str(count)]
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            told = json.loads(process.stdout.readline())
            yield {name: {"renewctl_node": node} for name, node in told.items()}
        finally:
            process.stdin.close()
            process.wait(30)
