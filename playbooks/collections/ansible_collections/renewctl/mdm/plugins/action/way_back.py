# Copyright: renewctl contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Looks at the previous pair before any node is put back; documented in modules/way_back.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.renewctl.mdm.plugins.plugin_utils import agreement, targets, versions, way_back
from ansible_collections.renewctl.mdm.plugins.plugin_utils.results import foreign, told_to_people

from renewctl.errors import RenewctlError
from renewctl.reasons import Reason

SPEC: dict[str, dict[str, Any]] = {
    "base": {"type": "path", "required": True},
    "topic": {"type": "str", "required": True},
    "previous": {"type": "dict"},
    "expired": {"type": "bool", "default": False},
}

SAID_ONCE = ("renewctl_topic", "renewctl_previous")


class ActionModule(ActionBase):
    """The action plugin."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: Any = None, task_vars: Any = None) -> dict[str, Any]:
        told: dict[str, Any] = super().run(tmp, task_vars)
        _, arguments = self.validate_argument_spec(argument_spec=SPEC)
        groups, hostvars = ((task_vars or {}).get(name, {}) for name in ("groups", "hostvars"))
        try:
            versions.require_match()
            agreement.require_one_answer(groups, hostvars, SAID_ONCE)
            agreement.require_sorted(groups, hostvars)
            way_back.require(
                arguments["previous"],
                Path(arguments["base"]),
                topic=arguments["topic"],
                expired=arguments["expired"],
                now=targets.now(),
            )
        except RenewctlError as error:
            told.update(failed=True, msg=told_to_people(error.reason, error.values))
        except Exception as error:  # noqa: BLE001 - a foreign text may hold anything, a key even
            told.update(failed=True, msg=told_to_people(Reason.INTERNAL, {"got": foreign(error, "way_back")}))
        return {"changed": False, **told}
