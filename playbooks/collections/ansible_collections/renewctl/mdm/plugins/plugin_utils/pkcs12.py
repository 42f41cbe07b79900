# Copyright: renewctl contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A pair as one PKCS#12 file, for consumers that want it so. Made on the controller, in memory."""

from __future__ import annotations

from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.serialization import PrivateFormat
from cryptography.hazmat.primitives.serialization.pkcs12 import PBES, serialize_key_and_certificates

from renewctl.certificate.pushcert import Pair
from renewctl.certificate.unlock import Locked, unlock

#: The entry's name where no file was there; Java keystores ask for one.
NAME = b"push"

#: Object identifier 1.2.840.113549.1.5.13 in DER: how every PKCS#12 file says that it is not of the old kind.
_PBES2 = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x05\x0d"

#: How often the password is stretched. OpenSSL's own 2,048 is thin; the file lies beside its password anyway.
_ROUNDS = 50_000


class Style(NamedTuple):
    """What a consumer finds in its file besides the pair.

    Attributes:
        name: the entry's friendly name, UTF-8; None: it has none.
        old_ciphers: 3DES under SHA-1, which older readers (Go's x/crypto/pkcs12, Java before 8u301, Windows
            Server 2016) know alone; otherwise AES-256 under PBES2.
    """

    name: bytes | None
    old_ciphers: bool


def style_of(before: bytes | None, password: str, path: str) -> Style:
    """What the next file has to be like.

    Args:
        before: the file that is there, opened with the password in a limited child; None: there is none.
        path: its path, for errors alone.

    Raises:
        Unusable: as `unlock`; PASSPHRASE_WRONG: that password does not open the file before.
    """
    if before is None:
        return Style(NAME, old_ciphers=False)
    return Style(unlock(Locked.P12, before, password, path=path).name, _PBES2 not in before)


def made(pair: Pair, password: str, style: Style) -> bytes:
    """The file its consumer can open as it opened the one before: by that password, that name, those ciphers.

    Args:
        password: not empty; `secrets.read` gives no other.
    """
    old_ciphers = style.old_ciphers
    algorithm = PBES.PBESv1SHA1And3KeyTripleDESCBC if old_ciphers else PBES.PBESv2SHA256AndAES256CBC
    encryption = (
        PrivateFormat.PKCS12.encryption_builder()
        .kdf_rounds(_ROUNDS)
        .key_cert_algorithm(algorithm)
        .hmac_hash(hashes.SHA1() if old_ciphers else hashes.SHA256())  # noqa: S303 - see `Style`
        .build(password.encode())
    )
    key = serialization.load_pem_private_key(pair.key, None)
    certificate = x509.load_der_x509_certificate(pair.certificate.der)
    return serialize_key_and_certificates(style.name, key, certificate, None, encryption)  # type: ignore[arg-type]
