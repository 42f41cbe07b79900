"""What a story shows of a running world, read from the outside: nodes, push service, `/metrics`.

Run as `renewctl sandbox wake` and `renewctl sandbox metrics`, in a process of their own: nothing a story
prints comes from the world's own memory.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

_AT_ONCE = 50  # enrollments in one push request
_SECONDS = 30.0
_POLL_SECONDS = 0.2


@dataclass(frozen=True)
class Woken:
    """What came of a push to every device.

    Attributes:
        enrolled: devices the nodes know.
        accepted: node -> pushes it reports as accepted.
        serials: certificate serial -> pushes the push service saw with it.
        checked_in: devices whose last check-in moved, as the nodes' databases tell.
    """

    enrolled: int
    accepted: Mapping[str, int]
    serials: Mapping[str, int]
    checked_in: int

    @property
    def complete(self) -> bool:
        """Every device was pushed to, and every one checked in."""
        return self.enrolled == sum(self.accepted.values()) == self.checked_in


def wake_all(folder: Path) -> Woken:
    """Push to every enrolled device through its nodes, and wait until it checked in.

    Args:
        folder: of a world that is up.

    Raises:
        OSError: no `world.json` there.
        httpx.HTTPError: a part of the world does not answer.
    """
    world = json.loads((folder / "world.json").read_text())
    databases = {Path(node["database"]) for node in world["nodes"].values()}
    before = _last_seen(databases)
    with httpx.Client(timeout=_SECONDS, trust_env=False) as client:
        earlier = len(client.get(f"{world['urls']['courier']}/pushes").json())
        accepted = dict.fromkeys(world["nodes"], 0)
        for name, node, ids in _shares(world["nodes"]):
            accepted[name] += _push(client, node, ids)
        pushes = client.get(f"{world['urls']['courier']}/pushes").json()[earlier:]
    return Woken(
        enrolled=len(before),
        accepted=accepted,
        serials=Counter(str(push["serial"]) for push in pushes),
        checked_in=_wait_for_all(databases, before),
    )


def metrics(url: str, names: Sequence[str]) -> list[str]:
    """Sample lines of the named metrics, as `/metrics` gives them.

    Raises:
        httpx.HTTPError: the exporter does not answer.
    """
    text = httpx.get(f"{url}/metrics", timeout=_SECONDS, trust_env=False).raise_for_status().text
    return [line for line in text.splitlines() if line.partition("{")[0].partition(" ")[0] in names]


def _shares(nodes: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any], list[str]]]:
    """Each node with its own share of the devices of its database."""
    for database in sorted({node["database"] for node in nodes.values()}):
        sharing = sorted(name for name, node in nodes.items() if node["database"] == database)
        ids = sorted(_last_seen({Path(database)}))
        for index, name in enumerate(sharing):
            yield name, nodes[name], ids[index :: len(sharing)]


def _push(client: httpx.Client, node: Mapping[str, Any], ids: Sequence[str]) -> int:
    password = Path(node["password_file"]).read_text().strip()
    accepted = 0
    for start in range(0, len(ids), _AT_ONCE):
        wanted = ",".join(ids[start : start + _AT_ONCE])
        answer = client.get(f"{node['url']}/v1/push/{wanted}", auth=("nanomdm", password)).json()
        accepted += sum("push_error" not in status for status in answer["status"].values())
    return accepted


def _wait_for_all(databases: set[Path], before: Mapping[str, str]) -> int:
    ends = time.monotonic() + _SECONDS
    while True:
        now = _last_seen(databases)
        moved = sum(now[device] != seen for device, seen in before.items())
        if moved == len(before) or time.monotonic() > ends:
            return moved
        time.sleep(_POLL_SECONDS)


def _last_seen(databases: set[Path]) -> dict[str, str]:
    seen: dict[str, str] = {}
    for database in databases:
        connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
        try:
            rows = connection.execute("SELECT id, last_seen_at FROM enrollments WHERE enabled")
            seen.update((str(device), str(at)) for device, at in rows)
        finally:
            connection.close()
    return seen
