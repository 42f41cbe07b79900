"""renewctl whose beats shut the store's group out for a moment: a kill in a beat must show it."""

from __future__ import annotations

import sys
from pathlib import Path

from renewctl.store.read import Run
from renewctl.store.write import Store
from tests.crash.kills import beating

_sound = Store.beat


def _beat(store: Store, run: Run) -> None:
    path = store._database.path
    assert isinstance(path, Path)
    path.chmod(0o600)
    _sound(store, run)
    path.chmod(0o640)


Store.beat = _beat  # type: ignore[method-assign]

if __name__ == "__main__":
    sys.exit(beating.main(sys.argv[1:]))
