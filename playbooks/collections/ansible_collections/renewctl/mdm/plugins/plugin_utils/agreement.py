# Copyright: renewctl contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""All hosts mean the same pairs: what the push service is shown once must be what every node is given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from renewctl.errors import Refused
from renewctl.reasons import Reason

GROUP = "mdm"
"""The group every playbook of the collection works on."""

SAID_ONCE = ("renewctl_topic", "renewctl_pair", "renewctl_previous", "renewctl_apns", "renewctl_forward_only")
"""What the pre-flight looks at for all hosts together."""


def require_one_answer(groups: Mapping[str, Any], hostvars: Mapping[str, Any]) -> None:
    """Compare what each host of the group says, also those outside the limit.

    Values are not told: where a path belongs somebody may have put a key.

    Raises:
        Refused: `hosts_differ`, with what differs and the hosts that agree among each other.
    """
    said = {host: _leaves(hostvars[host]) for host in groups.get(GROUP, ())}
    for name in sorted({name for leaves in said.values() for name in leaves}):
        camps: dict[str, list[str]] = {}
        for host, leaves in said.items():
            camps.setdefault(leaves.get(name, ""), []).append(host)
        if len(camps) > 1:
            hosts = " | ".join(", ".join(camp) for camp in camps.values())
            raise Refused(Reason.HOSTS_DIFFER, variable=name, hosts=hosts)


def _leaves(variables: Mapping[str, Any]) -> dict[str, str]:
    """Dotted name -> value, for every value below the variables that are said once."""
    found: dict[str, str] = {}
    waiting = [(name, variables[name]) for name in SAID_ONCE if name in variables]
    while waiting:
        name, value = waiting.pop()
        if isinstance(value, Mapping):
            waiting += [(f"{name}.{part}", below) for part, below in value.items()]
        elif value is not None:
            found[name] = str(value)
    return found
