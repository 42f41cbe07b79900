# Copyright: renewctl contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A task's arguments as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.renewctl.mdm.plugins.module_utils.pair_journal import HIGHEST_RUN
from ansible_collections.renewctl.mdm.plugins.plugin_utils.pairs import PairReference

from renewctl.errors import Refused, Unusable
from renewctl.inventory import reading as inventory
from renewctl.inventory.reading import Apns, Node
from renewctl.reasons import Reason

#: What the action plugin takes; the documentation is in modules/node.py.
SPEC: dict[str, dict[str, Any]] = {
    "state": {
        "type": "str",
        "required": True,
        "choices": ["fenced", "present", "verified", "put_back", "observed"],
    },
    "node": {"type": "dict", "required": True},
    "base": {"type": "path", "required": True},
    "topic": {"type": "str", "default": ""},
    "run": {"type": "int", "default": 0},
    "token": {"type": "str", "default": ""},
    "pair": {"type": "dict"},
    "previous": {"type": "dict"},
    "apns": {"type": "dict"},
    "shared": {"type": "bool", "default": False},
    "canaries": {"type": "int", "default": 3},
    "check_in_timeout": {"type": "float", "default": 30.0},
}


@dataclass(frozen=True)
class Settings:
    """One step on one node.

    Attributes:
        pair, previous: the new pair and the one before it, by reference.
        shared: other nodes share this node's storage, so its first install reaches their devices too.
        canaries: how many devices may be tried, one after the other.
        check_in_timeout: how long each is waited for, seconds.
        check: change nothing, say what would change.
    """

    state: str
    node: Node
    topic: str
    run: int
    token: str
    pair: PairReference | None
    previous: PairReference | None
    apns: Apns
    shared: bool
    canaries: int
    check_in_timeout: float
    check: bool

    @classmethod
    def from_arguments(cls, arguments: Mapping[str, Any], host: str, *, check: bool) -> Settings:
        """Arguments that went through `SPEC`.

        Raises:
            Unusable: with the field's name; `run_too_high`.
        """
        if arguments["run"] > HIGHEST_RUN:
            number = {"got": arguments["run"], "expected": HIGHEST_RUN}
            raise Unusable(Reason.RUN_TOO_HIGH, node=host, path=".renewctl/*/state.json", **number)
        base = Path(arguments["base"])
        mapping = {"name": host, **arguments["node"]}
        return cls(
            state=arguments["state"],
            node=inventory.node_from_mapping(mapping, base),
            topic=arguments["topic"],
            run=arguments["run"],
            token=arguments["token"],
            pair=PairReference.from_mapping(arguments["pair"], base),
            previous=PairReference.from_mapping(arguments["previous"], base),
            apns=inventory.apns_from_mapping(arguments["apns"] or {}, base),
            shared=arguments["shared"],
            canaries=arguments["canaries"],
            check_in_timeout=arguments["check_in_timeout"],
            check=check,
        )

    def new(self) -> PairReference:
        """The new pair.

        Raises:
            Unusable: none was given.
            Refused: it is of another topic.
        """
        if self.pair is None:
            raise Unusable(Reason.PAIR_INCOMPLETE, got="-")
        return self.pair.of_topic(self.topic)

    def old(self) -> PairReference:
        """The pair in use until now.

        Raises:
            Refused: none was given, so there is no way back.
        """
        if self.previous is None:
            raise Refused(Reason.NO_WAY_BACK, node=self.node.name)
        return self.previous.of_topic(self.topic)
