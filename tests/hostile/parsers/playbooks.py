"""What a playbook run tells: events of our callback, proofs and observations among them."""

from __future__ import annotations

import json
from typing import Any

from renewctl import playbook_run
from renewctl.errors import Refused, RenewctlError
from renewctl.playbook_events import Ended
from renewctl.proof import Proof, Rung, RungState, Verdict
from renewctl.renewal.events import Direction
from renewctl.workflow import engine, run_numbers
from tests.hostile.parser import Made, Parser
from tests.support.certs import TOPIC

_PROOF = Proof(Verdict.PROVEN, dict.fromkeys(Rung, RungState.YES), enrollment="A").as_json()
_SERVED = {
    "topic": TOPIC,
    "not_after": "2027-11-22T12:00:00Z",
    "source": "database",
    "serial": "0b",
    "fingerprint": "f",
    "key_fingerprint": "k",
    "issuer": "CN=x",
}
_SEEN = {
    "node": "n1",
    "at": "2026-11-29T10:00:00Z",
    "up": True,
    "version": "v0.9.0",
    "answered": ["database"],
    "certificates": [_SERVED],
    "devices": [{"topic": TOPIC, "enabled": 3, "seen_within": {"86400": 2}}],
    "failures": [{"reason": "node_timeout", "values": {"node": "n1"}}],
}
_DONE = {
    "event": "node",
    "state": "present",
    "node": "n1",
    "outcome": "proven",
    "changed": True,
    "observation": _SEEN,
    "proof": _PROOF,
    "reason": None,
    "values": {},
}
_EVENTS: list[dict[str, Any]] = [
    {"event": "started", "node": "n1", "state": "present"},
    _DONE,
    {**_DONE, "outcome": "held", "reason": "run_superseded", "values": {"got": 1, "expected": 7}},
    {**_DONE, "state": "put_back", "outcome": "put_back", "reason": None},
    {
        "event": "unreachable",
        "node": "n1",
        "address": "10.0.0.1",
        "detail": "no route",
        "command": "ssh n1 true",
    },
    {"event": "stopped", "node": "n1", "task": "gate"},
    {"event": "apns", "outcome": "accepted", "new": {}, "previous": None, "reason": None, "values": {}},
]


def _events() -> Made:
    """A line, and what the roll-out makes of it."""

    def take(data: bytes) -> None:
        gathered = playbook_run._Gathered(lambda _event: None)
        gathered.take(data.decode("utf-8", "replace"))
        ended = Ended(0, gathered.results, gathered.push_service, "")
        for node in ("n1", *ended.results):
            answer = engine.answer_of(node, ended, Direction.NEW)
            json.dumps(engine.told_of(answer))
            run_numbers.superseded_by(answer)
        engine.refused_by(ended)

    return Made(take, [json.dumps(event).encode() for event in _EVENTS])


def _proof() -> Made:
    def take(data: bytes) -> None:
        try:
            value = json.loads(data)
        except (ValueError, RecursionError):
            return
        Proof.from_json(value)

    return Made(take, [json.dumps(_PROOF).encode()])


PARSERS = [
    Parser(
        "playbooks.events",
        _events,
        [
            "renewctl.playbook_events",
            "renewctl.playbook_run",
            "renewctl.workflow.engine",
            "renewctl.workflow.run_numbers",
        ],
        (RenewctlError,),
        json=True,
    ),
    Parser("playbooks.proof", _proof, ["renewctl.proof"], (ValueError, Refused), json=True),
]
