# Copyright: renewctl contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One step on several API nodes at once. Each has its own answer, told as soon as it is there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ansible_collections.renewctl.mdm.plugins.plugin_utils import steps, worker
from ansible_collections.renewctl.mdm.plugins.plugin_utils.agreement import GROUP
from ansible_collections.renewctl.mdm.plugins.plugin_utils.results import FAILED, of_error, of_foreign
from ansible_collections.renewctl.mdm.plugins.plugin_utils.settings import Settings
from ansible_collections.renewctl.mdm.plugins.plugin_utils.targets import ApiTarget

from renewctl.errors import Refused, RenewctlError
from renewctl.reasons import Reason
from renewctl.servers import registry

#: Nodes asked at the same time: they are mostly waited for.
AT_ONCE = 50

Node = Mapping[str, Any]


def nodes_of(hosts: Sequence[str], groups: Mapping[str, Any], hostvars: Mapping[str, Any]) -> dict[str, Node]:
    """Host -> the arguments that are its own: `node`, and whether its storage is `shared`."""
    everybody = {host: hostvars[host].get("renewctl_node", {}) for host in groups.get(GROUP, hosts)}
    places = Counter(node["storage"] for node in everybody.values() if "storage" in node)
    shared = {host: places[node.get("storage")] > 1 for host, node in everybody.items()}
    return {
        host: {
            "node": everybody[host],
            "shared": hostvars[host].get("renewctl_storage_shared", shared[host]),
        }
        for host in hosts
    }


def step(
    arguments: Mapping[str, Any], nodes: Mapping[str, Node], show: Callable[[str], object], *, check: bool
) -> dict[str, Any]:
    """Do it on each; where nodes of one storage take turns, to the first that is not well.

    Args:
        arguments: of the task, the same for all nodes.
        nodes: host -> `node` and `shared`.
        show: takes a line for people, in the order things happen.
        check: change nothing, say what would change.
    """

    def in_turn(hosts: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
        told: dict[str, list[dict[str, Any]]] = {}
        for host in hosts:
            if unwell := [before for before in told if not _well(told[before])]:
                told[host] = [_not_tried(host, unwell[0], str(arguments["state"]), show)]
            else:
                told[host] = _told(host, {**arguments, **nodes[host]}, show, check=check)
        return told

    turns = _by_storage(nodes) if arguments["turns"] and not check else [[host] for host in nodes]
    told: dict[str, list[dict[str, Any]]] = {}
    with ThreadPoolExecutor(min(AT_ONCE, len(turns) or 1)) as pool:
        for some in pool.map(in_turn, turns):
            told.update(some)
    unwell = {host: "; ".join(part["msg"] for part in told[host]) for host in nodes if not _well(told[host])}
    return {
        "changed": any(part["changed"] for parts in told.values() for part in parts),
        "failed": bool(unwell) and not check,
        "msg": "; ".join(unwell.values()) or "all well",
        "renewctl_unwell": unwell,
    }


def none(state: str, told: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """No node was asked: each is told why, and none is well."""
    for part in told:
        worker.tell("node", state=state, **part["renewctl"])
    return {
        "changed": False,
        "failed": True,
        "msg": "; ".join(part["msg"] for part in told),
        "renewctl_unwell": {part["renewctl"]["node"]: part["msg"] for part in told},
    }


def _by_storage(nodes: Mapping[str, Node]) -> list[list[str]]:
    """Hosts by storage; one without a name for it has its own."""
    turns: dict[tuple[str, bool], list[str]] = {}
    for host, own in nodes.items():
        storage = own["node"].get("storage")
        turns.setdefault((host, False) if storage is None else (storage, True), []).append(host)
    return list(turns.values())


def _well(told: Sequence[Mapping[str, Any]]) -> bool:
    """Put back is not well, nor is a node of which no device has been seen checking in."""
    return len(told) == 1 and told[0]["renewctl"]["outcome"] not in {*FAILED, "not_proven"}


def _told(
    host: str, arguments: Mapping[str, Any], show: Callable[[str], object], *, check: bool
) -> list[dict[str, Any]]:
    """A node's answer, and after a wrong one the answer to being put back."""
    told = [_one(host, arguments, show, check=check)]
    if told[0]["renewctl"]["outcome"] == "wrong":
        told.append(_one(host, {**arguments, "state": "put_back"}, show, check=check))
    return told


def _one(
    host: str, arguments: Mapping[str, Any], show: Callable[[str], object], *, check: bool
) -> dict[str, Any]:
    state = str(arguments["state"])
    try:
        settings = Settings.from_arguments(arguments, host, check=check)
        step_ = steps.chosen(settings)
        topics = [settings.topic] if settings.topic else []
        server = registry.connect(settings.node, topics, before_change=worker.require_watched)
        worker.tell("started", node=host, state=state)
        told = step_(ApiTarget(server), settings)
    except RenewctlError as error:
        told = of_error(host, error)
    except Exception as error:  # noqa: BLE001 - a foreign text may hold anything, a key even
        told = of_foreign(host, error, state)
    return _said(told, state, show)


def _not_tried(host: str, other: str, state: str, show: Callable[[str], object]) -> dict[str, Any]:
    """Its storage was given the pair through another node, and that is not well: nobody is asked twice."""
    told = of_error(host, Refused(Reason.NODE_NOT_TRIED, other=other), "held")
    return _said(told, state, show)


def _said(told: dict[str, Any], state: str, show: Callable[[str], object]) -> dict[str, Any]:
    worker.tell("node", state=state, **told["renewctl"])
    show(told["msg"])
    return told
