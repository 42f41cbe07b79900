# Copyright: renewctl contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A pair as one PKCS#12 file, for consumers that want it so. Made on the controller, in memory."""

from __future__ import annotations

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.serialization import PrivateFormat
from cryptography.hazmat.primitives.serialization.pkcs12 import PBES, serialize_key_and_certificates

from renewctl.certificate.pushcert import Pair

#: The entry's name; Java keystores ask for one.
NAME = b"push"

#: How often the password is stretched. OpenSSL's own 2,048 is thin; the file lies beside its password anyway.
_ROUNDS = 50_000


def made(pair: Pair, password: str, *, old_ciphers: bool) -> bytes:
    """The file: AES-256 under PBES2; or 3DES under SHA-1, where the file before it was made so.

    Older readers (Go's x/crypto/pkcs12, Java before 8u301, Windows Server 2016) know the latter alone, and a
    consumer must be able to read this year what it could read last year.
    """
    algorithm = PBES.PBESv1SHA1And3KeyTripleDESCBC if old_ciphers else PBES.PBESv2SHA256AndAES256CBC
    encryption = (
        PrivateFormat.PKCS12.encryption_builder()
        .kdf_rounds(_ROUNDS)
        .key_cert_algorithm(algorithm)
        .hmac_hash(hashes.SHA1() if old_ciphers else hashes.SHA256())  # noqa: S303 - see above
        .build(password.encode())
    )
    key = serialization.load_pem_private_key(pair.key, None)
    certificate = x509.load_der_x509_certificate(pair.certificate.der)
    return serialize_key_and_certificates(NAME, key, certificate, None, encryption)  # type: ignore[arg-type]
