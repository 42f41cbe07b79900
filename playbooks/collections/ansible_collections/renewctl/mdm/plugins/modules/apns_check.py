# Copyright: renewctl contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: apns_check
short_description: Show the new and the previous pair to Apple's push service
version_added: 0.1.0
author:
  - The renewctl maintainers (@renewctl)
description:
  - Runs on the controller. Pushes to a device token that cannot exist; the answer tells of the pair.
  - Fails if hosts of the group C(mdm) name different pairs, since all are given what is shown here once, or
    are not in the group that plays them (C(renewctl_api), C(renewctl_files)).
  - Fails if the new pair is refused or no answer comes, and if there is no way back unless O(forward_only).
options:
  base:
    description: The folder relative paths are meant from.
    type: path
    required: true
  topic:
    description: The topic both pairs must have; another one is refused before anything is asked.
    type: str
    required: true
  pair:
    description: The new pair, a mapping of C(certificate) (path) and C(key) (a reference, see the README).
    type: dict
    required: true
  previous:
    description: The pair in use until now, in the same form.
    type: dict
  apns:
    description: The push service, a mapping of C(url) and C(ca_file); Apple's own where absent.
    type: dict
  forward_only:
    description: Go on although there is no way back.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: The push service takes both pairs
  renewctl.mdm.apns_check:
    base: "{{ inventory_dir }}"
    topic: "{{ renewctl_topic }}"
    pair: "{{ renewctl_pair }}"
    previous: "{{ renewctl_previous }}"
  run_once: true
"""

RETURN = r"""
renewctl_apns:
  description: Outcome, what was said of each pair, and the reason where it fails.
  type: dict
  returned: always
"""
