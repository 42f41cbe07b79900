#!/usr/bin/python
# ruff: noqa: EXE001 - Ansible sends this file's content; it is not run from here
# Copyright: renewctl contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: node_files
short_description: One step on the two files of a push certificate, on the node
version_added: 0.1.0
author:
  - The renewctl maintainers (@renewctl)
description:
  - Called by the action plugin M(renewctl.mdm.node); not meant for playbooks.
  - Takes no key. The action plugin sends the key to the node on the standard input of a command of its own.
  - Everything that changes something happens under one lock; the next fence undoes it if it is interrupted.
options:
  op:
    description: What to do.
    type: str
    required: true
    choices: [look, carries, fence, switch, revert]
  certificate:
    description: Absolute path of the certificate the MDM server reads.
    type: path
    required: true
  key:
    description: Absolute path of its private key.
    type: path
    required: true
  reload:
    description: Program and arguments to run after the switch; runs without a shell, at most 30 seconds.
    type: list
    elements: str
  run:
    description: Number of the roll-out; a node refuses a lower one than it carries.
    type: int
    default: 0
  token:
    description: Random name of the roll-out, so that two of one number cannot be mistaken.
    type: str
    default: ''
  certificate_pem:
    description: The certificate to switch to, PEM. Public.
    type: str
  key_digest:
    description: SHA-256 of the bytes of the key sent beforehand, hex.
    type: str
  fingerprint:
    description: SHA-256 of the certificate to go back to, hex.
    type: str
notes:
  - Needs pipelining, so that nothing is written to the node's temporary folder.
"""

EXAMPLES = r"""
- name: What the node serves
  renewctl.mdm.node_files:
    op: look
    certificate: /etc/mdm/push.pem
    key: /etc/mdm/push.key
"""

RETURN = r"""
reason:
  description: Why it failed, a reason code of renewctl; V(none) when it did not.
  type: str
  returned: always
values:
  description: What the sentence for that reason needs.
  type: dict
  returned: always
done:
  description: What the step says; depends on O(op).
  type: raw
  returned: success
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.renewctl.mdm.plugins.module_utils.node_disk import Fault
from ansible_collections.renewctl.mdm.plugins.module_utils.pair_files import PairFiles, write_fault

SPEC = {
    "op": {"type": "str", "required": True, "choices": ["look", "carries", "fence", "switch", "revert"]},
    "certificate": {"type": "path", "required": True},
    "key": {"type": "path", "required": True, "no_log": False},
    "reload": {"type": "list", "elements": "str"},
    "run": {"type": "int", "default": 0},
    "token": {"type": "str", "default": "", "no_log": False},
    "certificate_pem": {"type": "str"},
    "key_digest": {"type": "str", "no_log": False},
    "fingerprint": {"type": "str"},
}

#: Steps that may change something; under --check they do nothing.
CHANGING = ("fence", "switch", "revert")


def step(params):
    """One step; what it says."""
    files = PairFiles(params["certificate"], params["key"], params["reload"])
    run, token = params["run"], params["token"]
    if params["op"] == "look":
        return files.look()
    if params["op"] == "carries":
        return files.carries(run, token)
    if params["op"] == "fence":
        return files.fence(run, token)
    if params["op"] == "switch":
        return files.switch(run, token, params["certificate_pem"], params["key_digest"])
    return files.revert(run, token, params["fingerprint"])


def main():
    module = AnsibleModule(argument_spec=SPEC, supports_check_mode=True)
    op = module.params["op"]
    if module.check_mode and op in CHANGING:
        module.exit_json(changed=False, done=None, reason=None, values={})
    try:
        done = step(module.params)
    except Fault as fault:
        module.fail_json(msg=fault.reason, reason=fault.reason, values=fault.values)
    except OSError as error:
        fault = write_fault(error, module.params["certificate"])
        module.fail_json(msg=fault.reason, reason=fault.reason, values=fault.values)
    module.exit_json(changed=op in CHANGING and done is True, done=done, reason=None, values={})


if __name__ == "__main__":
    main()
