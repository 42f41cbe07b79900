# Copyright: renewctl contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: api_nodes
short_description: One step of a push certificate's roll-out on several MDM servers, through their APIs
version_added: 0.1.0
author:
  - The renewctl maintainers (@renewctl)
description:
  - Runs once, on the controller, and asks all nodes at the same time.
  - Does what M(renewctl.mdm.node) does on each. A host of its own for each would take a process of its own,
    which on a hundred nodes takes longer than all they are asked.
  - On V(present) a node that the answers prove to have the wrong pair is put back at once.
  - Nodes are asked whatever becomes of the others, but for those of one storage, see O(turns); the task fails
    if one is not well.
options:
  state:
    description:
      - V(fenced) sees that each answers and takes its credential; an API node carries no run.
      - V(present) installs the new pair unless it is there, and proves it, or puts the previous one back.
    type: str
    required: true
    choices: [fenced, present]
  hosts:
    description: Hosts whose C(renewctl_node) is meant.
    type: list
    elements: str
    required: true
  turns:
    description:
      - Nodes that share a storage take turns; the second reads back what the first was given.
      - After one that is not well the others of its storage are not tried.
    type: bool
    default: true
  base:
    description: The folder relative paths are meant from.
    type: path
    required: true
  topic:
    description: The topic (the portal's UID).
    type: str
    default: ''
  run:
    description: Number of the roll-out.
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
  canaries:
    description: How many devices may be tried a node, one after the other.
    type: int
    default: 3
  check_in_timeout:
    description: How long each device is waited for, seconds.
    type: float
    default: 30.0
"""

EXAMPLES = r"""
- name: Install the new pair and prove it, or put the previous one back
  renewctl.mdm.api_nodes:
    state: present
    hosts: "{{ ansible_play_batch }}"
    base: "{{ inventory_dir }}"
    topic: "{{ renewctl_topic }}"
    pair: "{{ renewctl_pair }}"
    previous: "{{ renewctl_previous }}"
  run_once: true
"""

RETURN = r"""
renewctl_unwell:
  description:
    - The hosts that are not as they should be, each with what was said of it.
    - Under check mode the task does not fail for them.
  type: dict
  returned: always
"""
