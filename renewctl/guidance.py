"""What has to be done next, as data: computed from the state, rendered in the reader's language elsewhere.

A step names the account, the UID, the file and the button, so that somebody who does this once a
year can follow it without knowing anything else. What the portal shows was taken from the public
pages of Apple and of MDM vendors (shared facts: mdm.md §4, §11).
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from renewctl.history import TopicHistory
from renewctl.inventory import Topic
from renewctl.renewal import Direction, Phase, Renewal, owed_previous

PORTAL = "https://identity.apple.com/pushcert/"
"""Apple Push Certificates Portal (Apple's own address for it)."""


@dataclass(frozen=True)
class Step:
    """One thing to do.

    Attributes:
        key: of the sentence, in the catalogues (`next.…`).
        values: what the sentence needs. Instants stay instants; whoever renders knows the zone.
        command: what to type, ready to paste; None where it is not done in a terminal.
    """

    key: str
    values: Mapping[str, Any] = field(default_factory=dict)
    command: str | None = None


@dataclass(frozen=True)
class Situation:
    """All that the next step depends on.

    Attributes:
        owed: nodes of the topic still owed the accepted pair.
        not_after: end of the certificate in use, as best known; None: not known.
        request_file, csr_file: where the last `request` wrote its files, if known.
        options: what every command needs again (`--inventory FILE`), already split.
    """

    topic: Topic
    history: TopicHistory
    now: datetime
    owed: Sequence[str] = ()
    not_after: datetime | None = None
    request_file: Path | None = None
    csr_file: Path | None = None
    options: Sequence[str] = ()

    def command(self, *words: str) -> str:
        """A whole command line for this topic."""
        return shlex.join(["renewctl", *self.options, *words, "--topic", self.topic.id])


def next_steps(situation: Situation) -> tuple[Step, ...]:
    """What has to be done next for one topic, in order; never empty."""
    latest = situation.history.latest
    if latest is None or latest.phase in {Phase.CLOSED, Phase.ABORTED}:
        return _between(situation, latest)
    return _BY_PHASE[latest.phase](situation, latest)


def _between(situation: Situation, latest: Renewal | None) -> tuple[Step, ...]:
    steps: list[Step] = []
    if latest is not None and latest.phase is Phase.CLOSED and situation.owed:
        steps.append(Step("next.owed_after_close", {"nodes": ", ".join(situation.owed)}))
    if situation.history.current is None:
        adopt = situation.command("adopt", "--certificate", "FILE", "--key", "FILE")
        steps.append(Step("next.adopt", {"topic": situation.topic.name}, adopt))
    if situation.not_after is None:
        steps.append(Step("next.date_unknown", {}, situation.command("renewal", "open")))
    elif situation.not_after <= situation.now:
        steps.append(Step("next.open_expired", {}, situation.command("renewal", "open")))
    elif situation.not_after - situation.now <= situation.topic.window:
        steps.append(Step("next.open", {}, situation.command("renewal", "open")))
    elif not steps:
        due = situation.not_after - situation.topic.window
        steps.append(Step("next.nothing_due", {"due": due}))
    return tuple(steps)


def _open(situation: Situation, _renewal: Renewal) -> tuple[Step, ...]:
    return (Step("next.request", {}, situation.command("renewal", "request")),)


def _csr_made(situation: Situation, _renewal: Renewal) -> tuple[Step, ...]:
    vendor = situation.topic.vendor
    if vendor is not None and vendor.key is not None:
        return (Step("next.sign", {}, situation.command("renewal", "request")),)
    csr = str(situation.csr_file or "the CSR")
    signed = situation.command("renewal", "request", "--signed", "FILE")
    return (Step("next.send_csr", {"file": csr}), Step("next.take_signed", {}, signed))


def _requested(situation: Situation, renewal: Renewal) -> tuple[Step, ...]:
    account = situation.topic.account
    address = account.address or account.alias
    request = str(situation.request_file or f"{renewal.name}.plist")
    steps = [Step("next.portal.sign_in", {"account": address, "portal": PORTAL})]
    if account.second_factor is not None:
        steps.append(Step("next.portal.second_factor", {"where": account.second_factor}))
    steps += [
        Step("next.portal.row", {"topic": situation.topic.topic}),
        Step("next.portal.no_row", {"account": address, "topic": situation.topic.topic}),
        Step("next.portal.renew", {"file": request}),
        Step("next.portal.download", {}),
        Step("next.accept", {}, situation.command("renewal", "accept", "MDM_Certificate.pem")),
    ]
    if renewal.request is not None:
        steps.append(Step("next.request_lasts", {"last_day": renewal.request.last_day}))
    return tuple(steps)


def _accepted(situation: Situation, _renewal: Renewal) -> tuple[Step, ...]:
    roll_out = situation.command("renewal", "roll-out")
    return (
        Step("next.dry_run", {}, f"{roll_out} --dry-run"),
        Step("next.roll_out", {"count": len(situation.owed)}, roll_out),
    )


def _rolling_out(situation: Situation, renewal: Renewal) -> tuple[Step, ...]:
    roll_out = situation.command("renewal", "roll-out")
    roll_back = situation.command("renewal", "roll-back")
    if renewal.moving is Direction.PREVIOUS or owed_previous(renewal):
        return (Step("next.roll_back_again", {"nodes": ", ".join(owed_previous(renewal))}, roll_back),)
    if renewal.moving is Direction.NEW:
        return (Step("next.interrupted", {}, roll_out), Step("next.or_roll_back", {}, roll_back))
    return (
        Step("next.verify", {}, situation.command("renewal", "verify")),
        Step("next.roll_out_again", {"nodes": ", ".join(situation.owed)}, roll_out),
        Step("next.or_roll_back", {}, roll_back),
    )


def _installed(situation: Situation, _renewal: Renewal) -> tuple[Step, ...]:
    verify = Step("next.prove", {}, situation.command("renewal", "verify"))
    return (verify, *_owed(situation))


def _proven(situation: Situation, _renewal: Renewal) -> tuple[Step, ...]:
    return (*_owed(situation), Step("next.close", {}, situation.command("renewal", "close")))


def _rolled_back(situation: Situation, renewal: Renewal) -> tuple[Step, ...]:
    left = owed_previous(renewal)
    if left:
        return (
            Step(
                "next.roll_back_again",
                {"nodes": ", ".join(left)},
                situation.command("renewal", "roll-back"),
            ),
        )
    return (
        Step("next.rolled_back", {}),
        Step("next.roll_out_after_back", {}, situation.command("renewal", "roll-out")),
        Step("next.abort", {}, situation.command("renewal", "abort")),
    )


def _owed(situation: Situation) -> tuple[Step, ...]:
    if not situation.owed:
        return ()
    nodes = ", ".join(situation.owed)
    return (Step("next.owed", {"nodes": nodes}, situation.command("renewal", "roll-out")),)


_BY_PHASE: Mapping[Phase, Callable[[Situation, Renewal], tuple[Step, ...]]] = {
    Phase.OPEN: _open,
    Phase.CSR_MADE: _csr_made,
    Phase.REQUESTED: _requested,
    Phase.ACCEPTED: _accepted,
    Phase.ROLLING_OUT: _rolling_out,
    Phase.INSTALLED: _installed,
    Phase.PROVEN: _proven,
    Phase.ROLLED_BACK: _rolled_back,
}
