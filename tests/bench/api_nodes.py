"""A canary roll-out over API nodes: against the same in stock modules, and against plain concurrent HTTP."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.bench.playing import hosts_file, stock
from tests.bench.table import Measured
from tests.bench.turns import by_turns
from tests.support.playbook_world import TOPIC, PairFiles, World, world
from tests.support.sandbox_parts import push_service
from tests.support.scripted_nanomdm import PASSWORD

_ROUNDS = 3


def measure(folder: Path) -> Iterator[Measured]:
    """Fence, waves (1, 10 %, the rest), read-back; ours also shows the pairs to the push service and pushes."""
    with push_service(folder / "pushes") as pushes, world(folder, pushes) as mdm:
        with _nodes(mdm, 50) as hosts:
            yield _against_stock_modules(mdm, hosts)
        with _nodes(mdm, 100) as hosts:
            yield _against_plain_http(mdm, hosts)


def _against_stock_modules(mdm: World, hosts: Mapping[str, Mapping[str, Any]]) -> Measured:
    inventory = hosts_file(mdm.folder, hosts)
    return by_turns(
        "canary roll-out, 50 API nodes / uri, assert, set_fact",
        lambda: _ours(mdm, hosts, mdm.new, mdm.old),
        lambda: stock("api.yml", inventory, _stock_variables(mdm.old)),
        bar=0.10,
        rounds=1,
    )


def _against_plain_http(mdm: World, hosts: Mapping[str, Mapping[str, Any]]) -> Measured:
    return by_turns(
        "canary roll-out, 100 API nodes / plain concurrent HTTP",
        lambda: _ours(mdm, hosts, mdm.new, mdm.old),
        lambda: asyncio.run(_plain(mdm.old, hosts)),
        bar=6.0,
        rounds=_ROUNDS,
    )


def _ours(mdm: World, hosts: Mapping[str, Mapping[str, Any]], new: PairFiles, old: PairFiles) -> None:
    ended = mdm.run(
        "rollout",
        hosts=hosts,
        renewctl_pair=new.reference,
        renewctl_previous=old.reference,
        renewctl_waves=[1, "10%", "100%"],
        renewctl_check_in_timeout=30,
    )
    outcomes = {result.outcome for result in ended.results.values()}
    if ended.exit_code != 0 or outcomes != {"proven"} or len(ended.results) != len(hosts):
        raise SystemExit(f"our roll-out: exit {ended.exit_code}, {outcomes}\n{ended.tail}")


def _stock_variables(pair: PairFiles) -> dict[str, Any]:
    return {
        "topic": TOPIC,
        "body": (pair.pem + pair.key.read_bytes()).decode(),
        "password": PASSWORD,
        "waves": [1, "10%", "100%"],
    }


async def _plain(pair: PairFiles, hosts: Mapping[str, Mapping[str, Any]]) -> None:
    """PUT, read back, push: the requests of a roll-out and nothing else, in the same three waves."""
    names = list(hosts)
    body = pair.pem + pair.key.read_bytes()
    password = base64.b64encode(f"nanomdm:{PASSWORD}".encode()).decode()
    async with httpx.AsyncClient(headers={"Authorization": f"Basic {password}"}, timeout=60) as client:
        for wave in (names[:1], names[1:11], names[11:]):
            await asyncio.gather(*(_one(client, hosts[name]["renewctl_node"]["url"], body) for name in wave))


async def _one(client: httpx.AsyncClient, url: str, body: bytes) -> None:
    (await client.put(f"{url}/v1/pushcert", content=body)).raise_for_status()
    (await client.get(f"{url}/v1/pushcert", params={"topic": TOPIC})).raise_for_status()
    (await client.get(f"{url}/v1/push/DEVICE-0")).raise_for_status()


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
