# Copyright: renewctl contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What must hold of all hosts together before any of them is touched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleError

from renewctl.errors import Refused
from renewctl.reasons import Reason

GROUP = "mdm"
"""The group every playbook of the collection works on."""

SAID_ONCE = ("renewctl_topic", "renewctl_pair", "renewctl_previous", "renewctl_apns", "renewctl_forward_only")
"""What the pre-flight looks at for all hosts together."""

API, FILES = KINDS = ("renewctl_api", "renewctl_files")
"""The groups whose hosts are played by their API, and as files; `nodes.yml` makes them."""


def require_one_answer(
    groups: Mapping[str, Any], hostvars: Mapping[str, Any], said_once: Sequence[str] = SAID_ONCE
) -> None:
    """Compare what each host of the group says, also those outside the limit.

    What the push service is shown once must be what every node is given. Values are not told: where a path
    belongs somebody may have put a key.

    Raises:
        Refused: `hosts_differ`, with what differs and the hosts that agree among each other.
    """
    said = {host: _leaves(hostvars[host], said_once) for host in groups.get(GROUP, ())}
    for name in sorted({name for leaves in said.values() for name in leaves}):
        camps: dict[str, list[str]] = {}
        for host, leaves in said.items():
            camps.setdefault(leaves.get(name, ""), []).append(host)
        if len(camps) > 1:
            hosts = " | ".join(", ".join(camp) for camp in camps.values())
            raise Refused(Reason.HOSTS_DIFFER, variable=name, hosts=hosts)


def require_sorted(groups: Mapping[str, Any], hostvars: Mapping[str, Any]) -> None:
    """Each host of the group is in the one group that plays its node, and no other host is in these.

    An inventory may bring the groups: a host in neither would be left out without a word.

    Raises:
        Refused: `hosts_not_sorted`, with each such host and the group it belongs to.
    """
    ours, played = groups.get(GROUP, ()), {kind: groups[kind] for kind in KINDS if kind in groups}
    if not played:  # nothing is played by these groups
        return
    wrong = []
    for host in dict.fromkeys([*ours, *(host for hosts in played.values() for host in hosts)]):
        try:
            needed = [_kind(hostvars[host])] if host in ours else []
        except AnsibleError:  # a template that does not resolve: the host's own task says which
            continue
        if [kind for kind, hosts in played.items() if host in hosts] != needed:
            wrong.append(f"{host} ({', '.join(needed) or GROUP})")
    if wrong:
        raise Refused(Reason.HOSTS_NOT_SORTED, hosts=", ".join(wrong))


def _kind(variables: Mapping[str, Any]) -> str:
    return FILES if isinstance(variables.get("renewctl_node", {}).get("install"), Mapping) else API


def _leaves(variables: Mapping[str, Any], said_once: Sequence[str]) -> dict[str, str]:
    """Dotted name -> value, for every value below the variables that are said once."""
    found: dict[str, str] = {}
    waiting = [(name, variables[name]) for name in said_once if name in variables]
    while waiting:
        name, value = waiting.pop()
        if isinstance(value, Mapping):
            waiting += [(f"{name}.{part}", below) for part, below in value.items()]
        elif value is not None:
            found[name] = str(value)
    return found
