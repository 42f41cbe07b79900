"""A node's places in any layout, and the pairs that come and go there, as the controller would send them.

The PKCS#12 files are made here with `cryptography` alone; what the node holds is read with it too.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ansible_collections.renewctl.mdm.plugins.module_utils.pair_files import PairFiles
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PrivateFormat, pkcs12

from tests.support.certs import Issued, pkcs1

TOKEN, OTHER_TOKEN = "ab" * 16, "cd" * 16
PASSWORD = b"consumer's own"
_TURNS = itertools.count()

TWO, PEM, P12 = "two", "pem", "p12"


class Place:
    """One node; its first place is `certificate` and `key`, unless other layouts are asked for."""

    def __init__(
        self,
        folder: Path,
        old: Issued | None,
        reload: list[str] | None = None,
        layouts: Sequence[str] = (TWO,),
    ) -> None:
        self.folder = folder
        self.layouts = layouts
        self.certificate, self.key = folder / "push.pem", folder / "push.key"
        self.pem, self.p12 = folder / "both.pem", folder / "push.p12"
        if old is not None:
            self.place(old)
        self.home = folder / ".renewctl" / Path(next(iter(self.named(layouts[0]).values()))).name
        self.files = PairFiles([self.named(layout) for layout in layouts], [] if reload is None else [reload])

    def named(self, layout: str) -> dict[str, str]:
        """A place as the inventory names it."""
        return {
            TWO: {"certificate": str(self.certificate), "key": str(self.key)},
            PEM: {"pem": str(self.pem)},
            P12: {"pkcs12": str(self.p12)},
        }[layout]

    def place(self, pair: Issued) -> None:
        """What an administrator puts there by hand."""
        if TWO in self.layouts:
            self.certificate.write_bytes(pair.pem)
            self.key.write_bytes(pair.key_pem)
            self.key.chmod(0o644)
        if PEM in self.layouts:
            self.pem.write_bytes(pair.key_pem + pair.pem)
        if P12 in self.layouts:
            self.p12.write_bytes(bundle(pair))

    def sent(self, pair: Issued) -> dict[str, bytes]:
        """The files that come with an order to switch."""
        bundles = {f"{n}.p12": bundle(pair) for n, layout in enumerate(self.layouts) if layout == P12}
        return {"key.pem": pair.key_pem, **bundles}

    def switch(self, pair: Issued, run: int = 1, token: str = TOKEN) -> bool:
        """Switch, as an order says."""
        done: bool = self.files.switch(run, token, pair.pem, self.sent(pair))
        return done

    def cut_off_after(self, pair: Issued) -> None:
        """A first run switches to it, and is killed before it commits."""
        self.files.fence(1, TOKEN)
        self.switch(pair)
        self.files._save(self.state(), phase="switching")

    def ruin(self, pair: Issued) -> Path:
        """Somebody writes into the release of a pair at the place of two files; its folder."""
        release = self.releases(self.certificate)[fingerprint(pair)]
        (release / "key.pem").write_bytes(b"somebody's")
        return release

    def serves(self, pair: Issued) -> bool:
        """Every place leads to this pair, and to nothing else."""
        return all(self.holds(layout) == (pair.der, pair.key_pem) for layout in self.layouts)

    def mixed(self, *pairs: Issued) -> bool:
        """A place leads to no whole pair of these."""
        return any(self.holds(layout) not in {(p.der, p.key_pem) for p in pairs} for layout in self.layouts)

    def holds(self, layout: str) -> tuple[bytes, bytes]:
        """Certificate (DER) and key of one place, as its consumer reads them."""
        if layout == P12:
            return _opened(self.p12.read_bytes())
        text = (
            self.pem.read_bytes() if layout == PEM else self.certificate.read_bytes() + self.key.read_bytes()
        )
        return _certificate(text), _key(text)

    def state(self) -> dict[str, Any]:
        """The journal."""
        told: dict[str, Any] = json.loads((self.home / "state.json").read_text())
        return told

    def seen(self) -> list[str | None]:
        """What `look` tells of each place: the certificate's fingerprint."""
        found = [one["certificate"] for one in self.files.look()["found"]]
        return [
            None if pem is None else hashlib.sha256(_certificate(pem.encode())).hexdigest() for pem in found
        ]

    def releases(self, path: Path | None = None) -> dict[str, Path]:
        """Certificate's fingerprint -> folder, of the whole releases of a place."""
        folder = self.folder / ".renewctl" / (path or self.certificate).name / "releases"
        return {
            hashlib.sha256(_certificate((release / "cert.pem").read_bytes())).hexdigest(): release
            for release in folder.iterdir()
            if (release / "cert.pem").exists()
        }


def bundle(pair: Issued) -> bytes:
    """A PKCS#12 file; another one now and then, as the controller never makes the same twice."""
    return _made(pair, next(_TURNS) % 5)


@functools.cache
def _made(pair: Issued, _turn: int) -> bytes:
    hasty = PrivateFormat.PKCS12.encryption_builder().kdf_rounds(1).build(PASSWORD)
    return pkcs12.serialize_key_and_certificates(b"push", pair.key, pair.certificate, None, hasty)


def fingerprint(pair: Issued) -> str:
    """SHA-256 of a pair's certificate, hex."""
    return hashlib.sha256(pair.der).hexdigest()


@functools.cache
def _opened(data: bytes) -> tuple[bytes, bytes]:
    key, certificate, _ = pkcs12.load_key_and_certificates(data, PASSWORD)
    assert isinstance(key, rsa.RSAPrivateKey)
    assert certificate is not None
    return certificate.public_bytes(Encoding.DER), pkcs1(key)


@functools.cache
def _certificate(text: bytes) -> bytes:
    return x509.load_pem_x509_certificate(text).public_bytes(Encoding.DER)


def _key(text: bytes) -> bytes:
    start = text.index(b"-----BEGIN RSA PRIVATE KEY-----")
    end = b"-----END RSA PRIVATE KEY-----\n"
    return text[start : text.index(end, start) + len(end)]
