"""What to do about a key that is gone, or that nobody can open: the last steps anybody wants to read."""

from __future__ import annotations

from collections.abc import Sequence

from renewctl.renewal.key_record import Role
from renewctl.situation import Step, command

_LOST = ("--reason", "key lost")
"""Why a key is made anew, for the record."""


def lost_key_steps(options: Sequence[str], topic_id: str, role: Role) -> tuple[Step, ...]:
    """First look for it, then do without; what that means depends on what the key is needed for."""
    topic = ("--topic", topic_id)
    restore = Step("next.lost_key.restore", {"topic": topic_id})
    if role is Role.PENDING:
        again = command(options, "renewal", "request", "--new-key", *_LOST, *topic)
        return (restore, Step("next.lost_key.request", {}, again), Step("next.portal.again", {}))
    if role is Role.ACCEPTED:
        return (
            restore,
            Step("next.lost_key.abort", {}, command(options, "renewal", "abort", *_LOST, *topic)),
            Step("next.lost_key.open", {}, command(options, "renewal", "open", *_LOST, *topic)),
            Step("next.lost_key.request", {}, command(options, "renewal", "request", *topic)),
            Step("next.portal.again", {}),
        )
    return (restore, Step("next.lost_key.no_way_back", {}))
