"""Nodes that only pretend, in files outside the state folders: they live on when `renewctl` is killed.

Each remembers the pair it was given and the highest run it has seen, and refuses lower ones, as the
collection does. The real playbooks are killed elsewhere (`part_rollout`, `sandboxed`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from renewctl.playbook_run import Ended, NodeDone, NodeResult, NodeStarted, PlaybookEvent

_PROOF = {
    "verdict": "proven",
    "rungs": dict.fromkeys(("read_back", "serial", "push", "check_in"), "yes"),
    "reason": None,
    "values": {},
    "enrollment": "DEVICE-1",
}
_STATES = {"fence": "fenced", "rollout": "present", "verify": "verified", "rollback": "put_back"}
_OUTCOMES = {"fence": "fenced", "rollout": "proven", "verify": "proven", "rollback": "put_back"}


def play(folder: Path) -> Callable[..., Ended]:
    """What stands where `playbook_run.run` is."""

    def run(
        name: str,
        hosts: Mapping[str, Mapping[str, Any]],
        variables: Mapping[str, Any],
        *,
        limit: Sequence[str] | None = None,
        check: bool = False,
        permit: int | None = None,
        on_event: Callable[[PlaybookEvent], None],
    ) -> Ended:
        assert not check
        results = {}
        for node in hosts if limit is None else limit:
            on_event(NodeStarted(node, _STATES[name]))
            results[node] = _act(folder / f"{node}.json", node, name, variables)
            on_event(NodeDone(node, _STATES[name], results[node]))
        return Ended(0, results, None, "the tail")

    return run


def _act(file: Path, node: str, playbook: str, variables: Mapping[str, Any]) -> NodeResult:
    held = json.loads(file.read_text()) if file.exists() else {"run": 0, "pair": None}
    before = dict(held)
    if playbook != "verify":
        assert variables["renewctl_run"] >= held["run"], "a lower run reached a node"
        held["run"] = variables["renewctl_run"]
    if playbook == "rollout":
        assert held["run"] == before["run"], "a node was changed that this run has not fenced"
        held["pair"] = _fingerprint(variables["renewctl_pair"])
    if playbook == "rollback":
        held["pair"] = _fingerprint(variables["renewctl_previous"])
    if playbook == "verify":
        assert held["pair"] == _fingerprint(variables["renewctl_pair"])
    beside = file.with_suffix(".beside")
    beside.write_text(json.dumps(held))
    beside.replace(file)
    proof = None if playbook == "fence" else _PROOF
    return NodeResult(node, _OUTCOMES[playbook], changed=held["pair"] != before["pair"], proof=proof)


def _fingerprint(pair: Mapping[str, Any]) -> str:
    return hashlib.sha256(Path(pair["certificate"]).read_bytes()).hexdigest()
