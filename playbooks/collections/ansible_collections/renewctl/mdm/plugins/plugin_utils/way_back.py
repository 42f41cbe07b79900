# Copyright: renewctl contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Before any node is put back: would the previous pair let a push through?"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from ansible_collections.renewctl.mdm.plugins.plugin_utils.pairs import PairReference

from renewctl.errors import Refused
from renewctl.reasons import Reason


def require(
    previous: Mapping[str, Any] | None, base: Path, *, topic: str, expired: bool, now: datetime
) -> None:
    """Look at the previous certificate alone: no key is opened, nobody is asked, so an outage stops nothing.

    Args:
        expired: go back although it has ended.

    Raises:
        Refused: `previous_pair_expired`; `topic_differs`.
        Unusable: there is no such file, or no certificate in it.
    """
    reference = PairReference.from_mapping(previous, base)
    if reference is None:  # each node says that there is nothing to put back
        return
    certificate = reference.of_topic(topic).certificate
    if certificate.not_after <= now and not expired:
        raise Refused(
            Reason.PREVIOUS_PAIR_EXPIRED,
            serial=certificate.serial,
            not_after=certificate.not_after,
            option="renewctl_previous_expired: true",
        )
