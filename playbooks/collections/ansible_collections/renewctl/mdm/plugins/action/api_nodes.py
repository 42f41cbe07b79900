# Copyright: renewctl contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One step on several nodes at once, run by the controller; documented in modules/api_nodes.py."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.renewctl.mdm.plugins.plugin_utils import together, versions, worker
from ansible_collections.renewctl.mdm.plugins.plugin_utils.results import of_error, of_foreign
from ansible_collections.renewctl.mdm.plugins.plugin_utils.settings import SPEC

from renewctl.errors import RenewctlError

SPEC_TOGETHER: dict[str, dict[str, Any]] = {
    **{name: how for name, how in SPEC.items() if name not in {"node", "shared"}},
    "state": {"type": "str", "required": True, "choices": ["fenced", "present"]},
    "hosts": {"type": "list", "elements": "str", "required": True},
    "turns": {"type": "bool", "default": True},
}


class ActionModule(ActionBase):
    """The action plugin."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: Any = None, task_vars: Any = None) -> dict[str, Any]:
        told: dict[str, Any] = super().run(tmp, task_vars)
        _, arguments = self.validate_argument_spec(argument_spec=SPEC_TOGETHER)
        hosts, state, there = arguments.pop("hosts"), str(arguments["state"]), task_vars or {}
        try:
            versions.require_match()
            with worker.bound_to_parent():
                nodes = together.nodes_of(hosts, there.get("groups", {}), there.get("hostvars", {}))
                ended = together.step(arguments, nodes, Display().display, check=self._task.check_mode)
            told.update(ended)
        except RenewctlError as error:
            told.update(together.none(state, [of_error(host, error) for host in hosts]))
        except Exception as error:  # noqa: BLE001 - a foreign text may hold anything, a key even
            told.update(together.none(state, [of_foreign(host, error, state) for host in hosts]))
        return told
