"""Everything a world needs on disk before its processes start: certificates, keys, accounts, secrets."""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyrage  # type: ignore[import-untyped]

from renewctl.sandbox.authority import Apple, Issued, device_root, new_topic, web_root
from renewctl.sandbox.mdm_pair import StoredPair
from renewctl.sandbox.mdm_storage import Storage
from renewctl.sandbox.push_service import SERVER_NAMES
from renewctl.sandbox.worlds import OTHER_ACCOUNT, OWNER_ACCOUNT, WorldSpec

VENDOR = "Example Corp"
"""Whoever signs the requests."""

_HALF_A_DAY = timedelta(hours=12)  # so that "42 days left" stays 42 while the story is told


@dataclass(frozen=True)
class Stage:
    """The folder of a world, and what is where."""

    folder: Path
    topic: str
    vendor: Issued
    old: Issued
    recipient: str

    @property
    def pki(self) -> Path:
        """Roots, issuers, TLS certificates: what Apple and the devices hold, not the operator."""
        return self.folder / "pki"

    @property
    def logs(self) -> Path:
        """What each process says, and the JSON lines of requests, pushes and devices."""
        return self.folder / "logs"

    @property
    def old_certificate(self) -> Path:
        """The push certificate in use, as the portal named its file."""
        return self.folder / "old" / f"MDM_ {VENDOR}_Certificate.pem"

    @property
    def old_key(self) -> Path:
        """Its private key; absent in a world where it was lost."""
        return self.folder / "old" / "key.pem"

    @property
    def identity(self) -> Path:
        """The age identity that opens the key store."""
        return self.folder / "secrets" / "age-identity.txt"

    @property
    def accounts(self) -> Path:
        """What the portal knows."""
        return self.folder / "pki" / "accounts.json"

    def password_file(self, node: str) -> Path:
        """The file with a node's API key."""
        return self.folder / "secrets" / f"{node}.password"

    def database(self, storage: str) -> Path:
        """The SQLite file of a storage."""
        return self.folder / "databases" / f"{storage}.db"


def write_pki(folder: Path, now: datetime) -> Apple:
    """Make Apple, the push service's TLS certificate and the devices' authority; write all of them."""
    apple = Apple.create(now)
    apple.save(folder)
    root = web_root(now)
    root.write(folder, "web-root")
    root.server(*SERVER_NAMES, now=now).write(folder, "push-service")
    device_root(now).write(folder, "device-ca")
    return apple


def build(spec: WorldSpec, folder: Path, nodes: Sequence[str]) -> Stage:
    """Write everything a world begins with.

    Args:
        spec: the world.
        folder: created if missing; must be empty.
        nodes: names that get a password.
    """
    now = datetime.now(UTC)
    for name in ("logs", "databases", "downloads", "old", "secrets"):
        (folder / name).mkdir(parents=True, mode=0o700)
    apple = write_pki(folder / "pki", now)
    topic = new_topic()
    vendor = apple.vendor(VENDOR, ends=_end(now, spec.vendor_days_left))
    old = apple.push_pair(topic, ends=_end(now, spec.old_days_left))
    identity = pyrage.x25519.Identity.generate()
    stage = Stage(folder, topic, vendor, old, str(identity.to_public()))
    _secret(stage.identity, str(identity))
    for node in nodes:
        _secret(stage.password_file(node), secrets.token_urlsafe(18))
    for storage in sorted(set(spec.storages.values())):
        _install(old, topic, stage.database(storage))
    vendor.write(folder / "vendor", "vendor")
    stage.old_certificate.write_bytes(old.certificate_pem)
    if spec.old_key_at_hand:
        _secret(stage.old_key, old.key_pem.decode())
    stage.accounts.write_text(
        json.dumps(
            {
                OWNER_ACCOUNT: [
                    _decoy(apple, now),
                    {"vendor": VENDOR, "certificate": old.certificate_pem.decode()},
                ],
                OTHER_ACCOUNT: [],
            }
        )
    )
    return stage


def _install(pair: Issued, topic: str, database: Path) -> None:
    """What last year's renewal left in an MDM server's database."""
    with contextlib.closing(Storage(database)) as storage:
        storage.put_pair(StoredPair(topic, pair.certificate_pem, pair.key_pem))


def _decoy(apple: Apple, now: datetime) -> dict[str, str]:
    """Another row of the same account, looking alike but for its UID."""
    pair = apple.push_pair(new_topic(), ends=_end(now, 130))
    return {"vendor": VENDOR, "certificate": pair.certificate_pem.decode()}


def _end(now: datetime, days_left: int) -> datetime:
    return now + timedelta(days=days_left) + _HALF_A_DAY


def _secret(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text.rstrip("\n") + "\n")
