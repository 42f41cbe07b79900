"""Keys and identities as operators have them, made by cryptography, `age-keygen` and `ssh-keygen`."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from renewctl.secrets import Kind, SecretRef


def pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, style: str = "TraditionalOpenSSL") -> bytes:
    """A private key, PEM; `style` is a name of `PrivateFormat`."""
    none = serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, getattr(serialization.PrivateFormat, style), none)


def new_key() -> rsa.RSAPrivateKey:
    """A private key as a push certificate has."""
    return rsa.generate_private_key(65537, 2048)


class Identity:
    """An age or SSH key pair in a file, made by the programs people use."""

    def __init__(self, folder: Path, kind: str, passphrase: str = "") -> None:
        self.file = folder / f"identity-{kind}{len(passphrase)}"
        if kind == "age":
            subprocess.run(["age-keygen", "-o", str(self.file)], capture_output=True, check=True)
            found = re.search(r"age1\w+", self.file.read_text())
            assert found is not None
            self.recipient = found[0]
            return
        command = ["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-f", str(self.file), "-C", "operator"]
        subprocess.run(command, check=True)
        self.recipient = self.file.with_name(f"{self.file.name}.pub").read_text()

    @property
    def ref(self) -> SecretRef:
        """How the inventory names it."""
        return SecretRef(Kind.FILE, (str(self.file),))
