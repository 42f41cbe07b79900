"""`renewctl` with a quick clockwork of runs, so that a takeover is not waited for half a minute.

::

    python -m tests.crash.quick renewal roll-out

Everything else is as installed. The proportions are those of the product: a holder that was silent for `lost`
starts nothing, well before another, after `patience`, takes over.
"""

from __future__ import annotations

import functools
import sys

from renewctl.cli.main import main
from renewctl.store import write as store
from renewctl.store.lease import Timing

TIMING = Timing(beat=0.5, lost=6.0, patience=8.0, look=0.25)

if __name__ == "__main__":
    store.Timing = functools.partial(Timing, *vars(TIMING).values())  # type: ignore[attr-defined]
    sys.exit(main())
