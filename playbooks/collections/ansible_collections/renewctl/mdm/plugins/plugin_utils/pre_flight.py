# Copyright: renewctl contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Before any node is touched: does the push service take the new pair, and is there a way back?"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible_collections.renewctl.mdm.plugins.plugin_utils.pairs import PairReference
from ansible_collections.renewctl.mdm.plugins.plugin_utils.results import plain, told_to_people

from renewctl.apns import PairCheck, PushService
from renewctl.inventory.reading import Apns
from renewctl.reasons import Reason


def check(
    apns: Apns,
    pair: Mapping[str, Any],
    previous: Mapping[str, Any] | None,
    base: Path,
    *,
    topic: str,
    forward_only: bool,
) -> dict[str, Any]:
    """Show both pairs, the new one first.

    Raises:
        Unusable, Refused: a pair that cannot be opened here, or of another topic.
    """
    service = PushService(apns.url, apns.ca_file)
    new = _shown(service, PairReference.from_mapping(pair, base), topic)
    old = _shown(service, PairReference.from_mapping(previous, base), topic)
    reason, about = _judge(new, old, forward_only=forward_only)
    told = {"new": _told(new), "previous": _told(old), "forward_only": forward_only or old is None}
    if reason is None:
        return _result("accepted", None, {}, told)
    values: dict[str, object] = {"option": "renewctl_forward_only: true"}
    if about is not None:
        values = {"got": about.detail or about.reason}
    return _result("refused", reason, values, told)


def refusal(reason: Reason, values: Mapping[str, object]) -> dict[str, Any]:
    """The result of an error."""
    return _result("refused", reason, values, {"new": None, "previous": None, "forward_only": False})


def _shown(service: PushService, reference: PairReference | None, topic: str) -> PairCheck | None:
    return None if reference is None else service.check(reference.of_topic(topic).open())


def _judge(
    new: PairCheck | None, old: PairCheck | None, *, forward_only: bool
) -> tuple[Reason | None, PairCheck | None]:
    if new is None:
        return Reason.PAIR_INCOMPLETE, None
    if not new.accepted:
        return (Reason.PUSH_SERVICE_UNKNOWN if new.accepted is None else Reason.NEW_PAIR_REFUSED), new
    if forward_only:
        return None, None
    if old is None:
        return Reason.PREVIOUS_PAIR_MISSING, None
    if not old.accepted:
        return (Reason.PUSH_SERVICE_UNKNOWN if old.accepted is None else Reason.PREVIOUS_PAIR_REFUSED), old
    return None, None


def _told(check: PairCheck | None) -> dict[str, Any] | None:
    if check is None:
        return None
    return {
        "accepted": check.accepted,
        "reason": None if check.reason is None else check.reason.value,
        "detail": check.detail,
    }


def _result(
    outcome: str, reason: Reason | None, values: Mapping[str, object], told: Mapping[str, Any]
) -> dict[str, Any]:
    shown = {name: plain(value) for name, value in values.items()}
    return {
        "changed": False,
        "failed": reason is not None,
        "msg": "" if reason is None else told_to_people(reason, shown),
        "renewctl_apns": {
            "outcome": outcome,
            "reason": None if reason is None else reason.value,
            "values": shown,
            **told,
        },
    }
