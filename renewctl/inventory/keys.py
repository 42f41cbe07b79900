"""The inventory's `keys`: where keys are kept, to whom they are sealed, for how long."""

from __future__ import annotations

import re
from datetime import timedelta

from renewctl.inventory.fields import Fields
from renewctl.inventory.model import Keys
from renewctl.reasons import Reason

_RECIPIENT = re.compile(r"age1[a-z0-9]{20,}|ssh-(ed25519|rsa) \S+.*")
_LONGEST_KEPT = timedelta(days=10 * 366)


def keys_from(fields: Fields) -> Keys:
    """Read `keys`; what is wrong is noted."""
    recipients, escrow = _recipients(fields, "recipients"), _recipients(fields, "escrow")
    fields.need("recipients", recipients or None)
    keys = Keys(
        recipients=(*recipients, *(one for one in escrow if one not in recipients)),
        folder=fields.file("folder"),
        identity=fields.secret("identity"),
        shared=fields.flag("shared"),
        escrow=escrow,
        destroy_after=fields.duration("destroy_after", None, _LONGEST_KEPT),
    )
    fields.done()
    return keys


def _recipients(fields: Fields, key: str) -> tuple[str, ...]:
    recipients = fields.texts(key)
    for index, recipient in enumerate(recipients):
        if "SECRET" in recipient.upper():  # AGE-SECRET-KEY-1…: the identity itself
            fields.problem(Reason.INVENTORY_SECRET_IN_CLEAR, f"{key}[{index}]")
        elif not _RECIPIENT.fullmatch(recipient):
            expected = "age1… | ssh-ed25519 … | ssh-rsa …"
            fields.problem(Reason.INVENTORY_BAD_VALUE, f"{key}[{index}]", got=recipient, expected=expected)
    return recipients
