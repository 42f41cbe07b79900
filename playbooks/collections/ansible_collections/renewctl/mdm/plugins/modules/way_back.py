# Copyright: renewctl contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: way_back
short_description: See that going back to the previous push certificate makes sense
version_added: 0.1.0
author:
  - The renewctl maintainers (@renewctl)
description:
  - Runs on the controller, before any node is put back. Opens no key and asks nobody.
  - Fails if the previous certificate has expired, unless O(expired). Put back, it would let no push through.
  - Fails if hosts of the group C(mdm) name different previous pairs, or are not in the group that plays them.
options:
  base:
    description: The folder relative paths are meant from.
    type: path
    required: true
  topic:
    description: The topic the previous pair must have.
    type: str
    required: true
  previous:
    description: The pair to go back to, a mapping of C(certificate) (path) and C(key) (a reference).
    type: dict
  expired:
    description: Go back although the previous certificate has expired.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: The previous pair has not expired
  renewctl.mdm.way_back:
    base: "{{ inventory_dir }}"
    topic: "{{ renewctl_topic }}"
    previous: "{{ renewctl_previous }}"
  run_once: true
"""

RETURN = r"""
msg:
  description: Why not.
  type: str
  returned: on failure
"""
