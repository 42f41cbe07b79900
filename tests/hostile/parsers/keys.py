"""age files, identities, recipients, secrets: what lies in key stores and behind references."""

from __future__ import annotations

from pathlib import Path
from tempfile import mkdtemp

import pyrage

from renewctl import secrets
from renewctl.cli.init_write import identity_answer
from renewctl.errors import RenewctlError, Unusable
from renewctl.keys import agefile, keystore, unseal
from renewctl.secrets import Kind, SecretRef
from tests.hostile.parser import Made, Parser
from tests.support.certs import apple_like

_SSH = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIK6zPYcxpXindbjq2UVe4bG0+8n9eHUy8oU82sK3MkaZ somebody"


def _read(path: Path) -> str:
    secrets.forget()
    return secrets.read(SecretRef(Kind.FILE, (str(path),)))


def _sealed() -> tuple[bytes, bytes, str]:
    text, recipient = unseal.new_identity()
    return keystore.sealed_to([recipient], apple_like().push().key_pem)[1], text.encode(), recipient


def _header() -> Made:
    sealed, _, recipient = _sealed()
    armored = pyrage.encrypt(b"x", [pyrage.x25519.Recipient.from_str(recipient)], armored=True)
    return Made(
        agefile.header,
        [sealed, bytes(armored), bytes(pyrage.encrypt(b"x", [pyrage.ssh.Recipient.from_str(_SSH)]))],
    )


def _open() -> Made:
    sealed, identity, _ = _sealed()
    path = Path(mkdtemp()) / "identity"
    path.write_bytes(identity)
    return Made(lambda data: unseal.open_key(data, SecretRef(Kind.FILE, (str(path),))), [sealed])


def _identity() -> Made:
    path = Path(mkdtemp()) / "identity"

    def take(data: bytes) -> None:
        path.write_bytes(data)
        secrets.forget()
        unseal.require_identity(SecretRef(Kind.FILE, (str(path),)))
        identity_answer(path, ())

    return Made(take, [_sealed()[1]])


def _recipients() -> Made:
    def take(data: bytes) -> None:
        recipients = data.decode("utf-8", "replace").split("\n")
        home = keystore.KeyFolder(Path("/nowhere"), recipients)
        agefile.expected(home.recipients)

    return Made(take, [_sealed()[2].encode(), _SSH.encode()])


def _secret() -> Made:
    path = Path(mkdtemp()) / "secret"

    def take(data: bytes) -> None:
        path.write_bytes(data)
        _read(path)

    return Made(take, [b"pa55\n", "päss".encode()])


def _plain() -> Made:
    path = Path(mkdtemp()) / "key.pem"

    def take(data: bytes) -> None:
        path.write_bytes(data)
        unseal.load_plain_key(path)

    return Made(take, [apple_like().push().key_pem])


PARSERS = [
    Parser("keys.header", _header, ["renewctl.keys.agefile"], (ValueError,)),
    Parser("keys.open", _open, ["renewctl.keys.unseal"], (RenewctlError,)),
    Parser("keys.identity", _identity, ["renewctl.keys.unseal", "renewctl.cli.init_write"], (Unusable,)),
    Parser("keys.recipients", _recipients, ["renewctl.keys.keystore", "renewctl.keys.agefile"], (Unusable,)),
    Parser("keys.plain", _plain, ["renewctl.keys.unseal"], (Unusable,)),
    Parser("keys.secret", _secret, ["renewctl.secrets"], (Unusable,)),
]
