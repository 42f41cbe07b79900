# Copyright: renewctl contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One step on one node, run by the controller. Its documentation is in modules/node.py."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.renewctl.mdm.plugins.plugin_utils import link, steps, versions, worker
from ansible_collections.renewctl.mdm.plugins.plugin_utils.file_target import FileTarget, Said
from ansible_collections.renewctl.mdm.plugins.plugin_utils.results import of_error, of_foreign
from ansible_collections.renewctl.mdm.plugins.plugin_utils.settings import SPEC, Settings
from ansible_collections.renewctl.mdm.plugins.plugin_utils.targets import ApiTarget, Target

from renewctl.errors import NodeFault, RenewctlError
from renewctl.reasons import Reason
from renewctl.servers import registry


class ActionModule(ActionBase):
    """The action plugin."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: Any = None, task_vars: Any = None) -> dict[str, Any]:
        told: dict[str, Any] = super().run(tmp, task_vars)
        host = str((task_vars or {}).get("inventory_hostname", ""))
        _, arguments = self.validate_argument_spec(argument_spec=SPEC)
        try:
            versions.require_match()
            with worker.bound_to_parent():
                settings = Settings.from_arguments(arguments, host, check=self._task.check_mode)
                step, target = steps.chosen(settings), self._target(settings, task_vars)
                if not self._task.loop:  # under a loop the host is not the node
                    worker.tell("started", node=host, state=settings.state)
                told.update(step(target, settings))
            if settings.state == "fenced" and told["renewctl"]["reason"] is not None:
                Display().display(told["msg"])  # of a node that does well Ansible says no more than `changed`
        except RenewctlError as error:
            told.update(of_error(host, error))
        except AnsibleError:
            raise  # unreachable, mostly: Ansible's own to tell
        except Exception as error:  # noqa: BLE001 - a foreign text may hold anything, a key even
            told.update(of_foreign(host, error, str(arguments["state"])))
        return told

    def _target(self, settings: Settings, task_vars: Any) -> Target:
        topics = [settings.topic] if settings.topic else []
        server = registry.connect(settings.node, topics, before_change=worker.require_watched)
        if settings.node.install is None:
            return ApiTarget(server)
        link.prepare(self._connection)
        return FileTarget(server, settings.node.install, settings, _Connection(self, task_vars))


class _Connection:
    """The connection Ansible holds to the node, as `file_target.Remote`."""

    def __init__(self, action: ActionModule, task_vars: Any) -> None:
        self._action = action
        self._task_vars = task_vars

    def python(self) -> str | None:
        named = self._action._templar.template((self._task_vars or {}).get("ansible_python_interpreter"))  # noqa: SLF001
        return None if named is None or str(named).startswith("auto") else str(named)

    def send(self, command: str, data: bytes, seconds: float) -> Said:
        # Not a module: its arguments show under ANSIBLE_DEBUG even in tasks with no_log, what a command is
        # given on its standard input shows nowhere (facts/stack.md §3).
        try:
            with link.within(seconds, self._action._connection):  # noqa: SLF001
                told = self._action._low_level_execute_command(command, in_data=data)  # noqa: SLF001 - what action plugins have
        except AnsibleConnectionFailure:
            raise  # unreachable: Ansible's own to tell
        except AnsibleError as error:  # sudo asks for a password, say
            raise NodeFault(Reason.NODE_STEP_FAILED, got=link.last_words(str(error))) from None
        return Said(int(told["rc"]), str(told["stdout"]), str(told["stderr"]))
