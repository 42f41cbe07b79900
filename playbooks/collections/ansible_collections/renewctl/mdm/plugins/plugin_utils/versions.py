# Copyright: renewctl contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The collection and the renewctl it imports are released together, and work together alone."""

from __future__ import annotations

import renewctl
from renewctl.errors import Refused
from renewctl.reasons import Reason

#: Of this collection, as in galaxy.yml.
COLLECTION = "0.1.0"


def require_match() -> None:
    """Called before anything is looked at or changed.

    Raises:
        Refused: `collection_differs`: another version of renewctl is installed beside this collection.
    """
    if renewctl.__version__ != COLLECTION:
        raise Refused(Reason.COLLECTION_DIFFERS, got=COLLECTION, expected=renewctl.__version__)
