# Copyright: renewctl contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a step says. Built here alone, so that nothing but these keys can leave a task."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from renewctl import messages
from renewctl.errors import RenewctlError
from renewctl.observation import Observation
from renewctl.reasons import Reason

#: Outcomes that end a node's part with an error. `not_proven` is none: a task of its own holds there.
FAILED = frozenset({"failed", "held", "unknown", "wrong"})

#: Where our own code lies: the package's folder, and the collection's.
_OURS = (str(Path(messages.__file__).parent), str(Path(__file__).parents[2]))


def result(
    node: str,
    outcome: str,
    *,
    changed: bool = False,
    observation: Observation | None = None,
    proof: Any = None,
    reason: Reason | None = None,
    values: Mapping[str, object] | None = None,
) -> dict[str, Any]:
    """A task's result."""
    shown = {name: plain(value) for name, value in (values or {}).items()}
    said = "" if reason is None else f": {told_to_people(reason, shown)}"
    return {
        "changed": changed,
        "failed": outcome in FAILED,
        "msg": f"{node}: {outcome}{said}",
        "renewctl": {
            "node": node,
            "outcome": outcome,
            "changed": changed,
            "observation": None if observation is None else observation_json(observation),
            "proof": None if proof is None else proof.as_json(),
            "reason": None if reason is None else reason.value,
            "values": shown,
        },
    }


def told_to_people(reason: Reason, values: Mapping[str, object]) -> str:
    """What a person reads in Ansible's output: what happened, what to do now, the code to search for."""
    happened, hint = messages.sentence(reason, messages.DEFAULT, values)
    return f"{happened}. {hint} ({reason.value})"


def seen_by_people(seen: Observation) -> str:
    """What a look gave, as a person reads it in Ansible's output: each certificate, and what hides others."""
    told = [
        messages.text(
            "observed.certificate",
            messages.DEFAULT,
            serial=served.serial,
            until=served.not_after,
            topic=served.topic,
            source=messages.text(f"source.{served.source.value}", messages.DEFAULT),
        )
        for served in seen.certificates
    ] or [messages.text("observed.none", messages.DEFAULT)]
    told += [told_to_people(failure.reason, failure.values) for failure in seen.failures]
    return f"{seen.node}: {'; '.join(told)}"


def of_error(node: str, error: RenewctlError, outcome: str = "failed", **more: object) -> dict[str, Any]:
    """The result of an error: its reason and values, nothing else."""
    return result(node, outcome, reason=error.reason, values={"node": node, **error.values, **more})


def of_foreign(node: str, error: Exception, step: str) -> dict[str, Any]:
    """The result of an error nobody foresaw."""
    return result(
        node,
        "failed",
        reason=Reason.INTERNAL,
        values={"node": node, "got": foreign(error, step), "step": step},
    )


def foreign(error: Exception, step: str) -> str:
    """What may be told of an unforeseen error: its type and place. Its text may hold anything, a key even."""
    places = [
        frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.startswith(_OURS)
    ]
    place = f", {Path(places[-1].filename).name}:{places[-1].lineno}" if places else ""
    return f"{type(error).__name__} in step {step}{place}"


def observation_json(observation: Observation) -> dict[str, Any]:
    """An observation as plain values; instants in UTC."""
    return {
        "node": observation.node,
        "at": instant(observation.at),
        "up": observation.up,
        "version": observation.version,
        "answered": [source.value for source in observation.answered],
        "certificates": [
            {
                "topic": found.topic,
                "not_after": instant(found.not_after),
                "source": found.source.value,
                "serial": found.serial,
                "fingerprint": found.fingerprint,
                "key_fingerprint": found.key_fingerprint,
                "issuer": found.issuer,
            }
            for found in observation.certificates
        ],
        "devices": None
        if observation.devices is None
        else [
            {
                "topic": count.topic,
                "enabled": count.enabled,
                "seen_within": {str(window): seen for window, seen in count.seen_within.items()},
            }
            for count in observation.devices
        ],
        "failures": [
            {"reason": failure.reason.value, "values": dict(failure.values)}
            for failure in observation.failures
        ],
    }


def instant(at: datetime) -> str:
    """An instant as JSON has it: UTC, ISO 8601."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def plain(value: object) -> object:
    """A value as JSON has it; what JSON does not know becomes its text."""
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)
