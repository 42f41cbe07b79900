# Copyright: renewctl contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Imported for its effect: what asks a server is loaded once, before Ansible forks its workers.

Ansible loads an action plugin before it forks a worker for it; by itself each worker would take a third of a
second for this.
"""

from __future__ import annotations

from renewctl.database import sql
from renewctl.servers import nanomdm, registry

__all__ = ["nanomdm", "registry", "sql"]
