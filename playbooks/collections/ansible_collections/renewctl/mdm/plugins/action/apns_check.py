# Copyright: renewctl contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Shows pairs to the push service before any node is touched; documented in modules/apns_check.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.renewctl.mdm.plugins.plugin_utils import agreement, pre_flight, versions, worker
from ansible_collections.renewctl.mdm.plugins.plugin_utils.results import foreign

from renewctl.errors import RenewctlError
from renewctl.inventory.reading import apns_from_mapping
from renewctl.reasons import Reason

SPEC: dict[str, dict[str, Any]] = {
    "base": {"type": "path", "required": True},
    "topic": {"type": "str", "required": True},
    "pair": {"type": "dict", "required": True},
    "previous": {"type": "dict"},
    "apns": {"type": "dict"},
    "forward_only": {"type": "bool", "default": False},
}


class ActionModule(ActionBase):
    """The action plugin."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: Any = None, task_vars: Any = None) -> dict[str, Any]:
        told: dict[str, Any] = super().run(tmp, task_vars)
        _, arguments = self.validate_argument_spec(argument_spec=SPEC)
        base, there = Path(arguments["base"]), task_vars or {}
        try:
            versions.require_match()
            with worker.bound_to_parent():
                groups, hostvars = there.get("groups", {}), there.get("hostvars", {})
                agreement.require_one_answer(groups, hostvars)
                agreement.require_sorted(groups, hostvars)
                shown = pre_flight.check(
                    apns_from_mapping(arguments["apns"] or {}, base),
                    arguments["pair"],
                    arguments["previous"],
                    base,
                    topic=arguments["topic"],
                    forward_only=arguments["forward_only"],
                )
            told.update(shown)
        except RenewctlError as error:
            told.update(pre_flight.refusal(error.reason, error.values))
        except Exception as error:  # noqa: BLE001 - a foreign text may hold anything, a key even
            told.update(pre_flight.refusal(Reason.INTERNAL, {"got": foreign(error, "apns_check")}))
        return told
