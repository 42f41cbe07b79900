"""A node's two files, and the pairs that come and go there."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from ansible_collections.renewctl.mdm.plugins.module_utils.pair_files import PairFiles

from tests.support.certs import Issued

TOKEN, OTHER_TOKEN = "ab" * 16, "cd" * 16


class Place:
    """A node's two files and the pairs that come and go there."""

    def __init__(self, folder: Path, old: Issued | None, reload: list[str] | None = None) -> None:
        self.certificate, self.key = folder / "push.pem", folder / "push.key"
        if old is not None:
            self.certificate.write_bytes(old.pem)
            self.key.write_bytes(old.key_pem)
            self.key.chmod(0o644)
        self.home = folder / ".renewctl"
        self.files = PairFiles(str(self.certificate), str(self.key), reload)

    def stage(self, pair: Issued, token: str = TOKEN) -> None:
        """What the controller's command leaves."""
        staged = self.home / f"staged-{token}"
        staged.mkdir(exist_ok=True)
        (staged / "key.pem").write_bytes(pair.key_pem)

    def switch(self, pair: Issued, run: int = 1, token: str = TOKEN) -> bool:
        """Stage and switch."""
        self.stage(pair, token)
        done: bool = self.files.switch(
            run, token, pair.pem.decode(), hashlib.sha256(pair.key_pem).hexdigest()
        )
        return done

    def serves(self, pair: Issued) -> bool:
        """Both paths lead to this pair."""
        return self.certificate.read_bytes() == pair.pem and self.key.read_bytes() == pair.key_pem

    def state(self) -> dict[str, Any]:
        """The journal."""
        told: dict[str, Any] = json.loads((self.home / "state.json").read_text())
        return told


def fingerprint(pair: Issued) -> str:
    """Name of a pair's release."""
    return hashlib.sha256(pair.der).hexdigest()
