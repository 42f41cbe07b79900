# Copyright: renewctl contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: node
short_description: One step of a push certificate's roll-out on one MDM server
version_added: 0.1.0
author:
  - The renewctl maintainers (@renewctl)
description:
  - Runs on the controller. API nodes are asked from there; on file nodes it uses Ansible's own connection.
  - A key is opened where it is used; it is never an argument, a variable, a result, or a file here.
  - Reads back before it changes anything, so a second run changes nothing.
options:
  state:
    description:
      - V(observed) looks. V(fenced) makes a file node take O(run) and undo an interrupted one.
        Given O(pair), it fails where that could not be put into a PKCS#12 file of the node.
      - V(present) installs the new pair unless it is there, and proves it. V(verified) proves it.
      - V(put_back) installs the previous pair unless it is there, and proves it.
    type: str
    required: true
    choices: [fenced, present, verified, put_back, observed]
  node:
    description: The node, as in renewctl's inventory file (product, url, install, storage and so on).
    type: dict
    required: true
  base:
    description: The folder relative paths are meant from.
    type: path
    required: true
  topic:
    description: The topic (the portal's UID).
    type: str
    default: ''
  run:
    description: Number of the roll-out, at most 1000000000; file nodes refuse a lower one than they carry.
    type: int
    default: 0
  token:
    description: Random name of the roll-out, hex.
    type: str
    default: ''
  pair:
    description: The new pair, a mapping of C(certificate) (path) and C(key) (a reference, see the README).
    type: dict
  previous:
    description: The pair in use until now, in the same form.
    type: dict
  apns:
    description: The push service, a mapping of C(url) and C(ca_file); Apple's own where absent.
    type: dict
  shared:
    description: Other nodes share this node's storage; then a device is woken with the new pair first.
    type: bool
    default: false
  canaries:
    description: How many devices may be tried, one after the other.
    type: int
    default: 3
  check_in_timeout:
    description: How long each device is waited for, seconds.
    type: float
    default: 30.0
"""

EXAMPLES = r"""
- name: Install the new pair and prove it
  renewctl.mdm.node:
    state: present
    base: "{{ inventory_dir }}"
    node: "{{ renewctl_node }}"
    topic: "{{ renewctl_topic }}"
    pair: "{{ renewctl_pair }}"
    previous: "{{ renewctl_previous }}"
"""

RETURN = r"""
renewctl:
  description: Node, outcome, changed, observation, proof, reason, values.
  type: dict
  returned: always
"""
