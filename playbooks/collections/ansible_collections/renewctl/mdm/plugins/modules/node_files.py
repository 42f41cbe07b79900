#!/usr/bin/python
# ruff: noqa: EXE001 - Ansible sends this file's content; it is not run from here
# Copyright: renewctl contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: node_files
short_description: One step on the files of a push certificate, on the node
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
  places:
    description:
      - Where consumers on the node read the pair, all switched in one step.
      - The first one's folder keeps the journal.
    type: list
    elements: dict
    required: true
    suboptions:
      certificate:
        description: Absolute path of the certificate, beside O(places[].key).
        type: path
      key:
        description: Absolute path of its private key.
        type: path
      pem:
        description: Absolute path of one PEM file that holds both; their order is kept.
        type: path
      pkcs12:
        description: Absolute path of one PKCS#12 file that holds both; it arrives ready made.
        type: path
  reloads:
    description:
      - Programs with their arguments, run one after the other when all places are switched.
      - Each runs without a shell, at most 30 seconds, and is then ended with what it started.
    type: list
    elements: list
    default: []
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
  digests:
    description: Name of each file sent beforehand (the key, PKCS#12 files) to the SHA-256 of its bytes, hex.
    type: dict
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
    places:
      - certificate: /etc/mdm/push.pem
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
    "places": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "certificate": {"type": "path"},
            "key": {"type": "path", "no_log": False},
            "pem": {"type": "path"},
            "pkcs12": {"type": "path"},
        },
    },
    "reloads": {"type": "list", "elements": "list", "default": []},
    "run": {"type": "int", "default": 0},
    "token": {"type": "str", "default": "", "no_log": False},
    "certificate_pem": {"type": "str"},
    "digests": {"type": "dict"},
    "fingerprint": {"type": "str"},
}

#: Steps that may change something; under --check they do nothing.
CHANGING = ("fence", "switch", "revert")


def step(params):
    """One step; what it says."""
    files = PairFiles(params["places"], params["reloads"])
    run, token = params["run"], params["token"]
    if params["op"] == "look":
        return files.look()
    if params["op"] == "carries":
        return files.carries(run, token)
    if params["op"] == "fence":
        return files.fence(run, token)
    if params["op"] == "switch":
        return files.switch(run, token, params["certificate_pem"], params["digests"])
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
        named = (path for place in module.params["places"] for path in place.values() if path)
        fault = write_fault(error, next(named, "-"))
        module.fail_json(msg=fault.reason, reason=fault.reason, values=fault.values)
    module.exit_json(changed=op in CHANGING and done is True, done=done, reason=None, values={})


if __name__ == "__main__":
    main()
