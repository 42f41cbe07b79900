# Copyright: renewctl contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
name: events
type: notification
short_description: Tells renewctl what happens, one JSON object a line
version_added: 0.1.0
author:
  - The renewctl maintainers (@renewctl)
description:
  - Writes to the file descriptor named in E(RENEWCTL_EVENTS_FD), and to nothing else.
  - That a step begins is told by the action plugin M(renewctl.mdm.node) itself; a skipped task tells nothing.
  - Only the keys of the result's C(renewctl) part are written; nothing else of a result leaves the task.
requirements:
  - enabled in the configuration, as renewctl does
"""

from ansible.plugins.callback import CallbackBase
from ansible_collections.renewctl.mdm.plugins.plugin_utils import link, worker

#: All of a result that is told.
KEYS = ("node", "outcome", "changed", "observation", "proof", "reason", "values")
APNS_KEYS = ("outcome", "new", "previous", "forward_only", "reason", "values")


class CallbackModule(CallbackBase):
    """Events on an inherited pipe."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "renewctl.mdm.events"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self):
        super().__init__()
        if worker.events_fd() is None:
            self.disabled = True

    def v2_runner_on_ok(self, result):
        self._result(result)

    def v2_runner_on_failed(self, result, ignore_errors=False):
        self._result(result, failed=not ignore_errors)

    def v2_runner_on_unreachable(self, result):
        node, variables = result.host.get_name(), result.host.get_vars()
        self._tell(
            "unreachable",
            node=node,
            address=str(variables.get("ansible_host") or node),
            detail=link.last_words(str(result.result.get("msg", ""))),
            command=link.try_by_hand(node, variables),
        )

    def _result(self, result, failed=False):
        told = result.result
        if isinstance(told.get("renewctl"), dict):
            part = {key: told["renewctl"].get(key) for key in KEYS}
            self._tell("node", state=str(result.task.args.get("state", "")), **part)
        elif isinstance(told.get("renewctl_apns"), dict):
            self._tell("apns", **{key: told["renewctl_apns"].get(key) for key in APNS_KEYS})
        elif failed and "renewctl_unwell" not in told:  # there each node has been told of
            self._tell("stopped", node=result.host.get_name(), task=result.task.get_name())

    def _tell(self, event, **values):
        if not worker.tell(event, **values):
            self.disabled = True  # nobody reads any more; the action plugin stops by itself
