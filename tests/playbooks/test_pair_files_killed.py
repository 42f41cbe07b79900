"""Killed in the middle of a switch: no consumer ever reads a mixed pair."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from tests.support.certs import NOW, TOPIC, Issued, apple_like
from tests.support.pair_place import OTHER_TOKEN, TOKEN, Place, fingerprint


@pytest.fixture(scope="module")
def pairs() -> tuple[Issued, Issued]:
    """The old pair and the new one."""
    apple = apple_like()
    return apple.push(TOPIC, not_after=NOW + timedelta(days=42)), apple.push(TOPIC, key="new")


KILLED = """
import os, sys
sys.path[:0] = {paths!r}
from ansible_collections.renewctl.mdm.plugins.module_utils import node_disk
from ansible_collections.renewctl.mdm.plugins.module_utils.pair_files import PairFiles
left = int(sys.argv[1])
def dying(name, real):
    def call(*args, **kwargs):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), 9)
        return real(*args, **kwargs)
    setattr(os, name, call)
for name in ("mkdir", "unlink", "open", "fsync", "replace", "symlink", "chmod", "fchmod"):
    dying(name, getattr(os, name))
PairFiles({certificate!r}, {key!r}).switch(1, {token!r}, {pem!r}, {digest!r})
"""


@pytest.mark.slow
def test_killed_anywhere_in_a_switch_the_pair_is_never_mixed(
    tmp_path: Path, pairs: tuple[Issued, Issued]
) -> None:
    """Killed before every single file operation: consumers read one whole pair, and the next fence mends it."""
    old, new = pairs
    points = 0
    while True:
        points += 1
        folder = tmp_path / str(points)
        folder.mkdir()
        place = Place(folder, old)
        place.files.fence(1, TOKEN)
        place.stage(new)
        script = KILLED.format(
            paths=[p for p in sys.path if p],
            certificate=str(place.certificate),
            key=str(place.key),
            token=TOKEN,
            pem=new.pem.decode(),
            digest=hashlib.sha256(new.key_pem).hexdigest(),
        )
        done = subprocess.run([sys.executable, "-c", script, str(points)], check=False, capture_output=True)
        assert place.serves(old) or place.serves(new), points
        if done.returncode == 0:
            break
        place.files.fence(2, OTHER_TOKEN)
        assert place.serves(old) or place.state()["phase"] == "committed", points
        assert place.switch(new, 2, OTHER_TOKEN) in {True, False}
        assert place.serves(new), points
        assert place.files.revert(2, OTHER_TOKEN, fingerprint(old)) is True
        assert place.serves(old), points
    assert points > 30
