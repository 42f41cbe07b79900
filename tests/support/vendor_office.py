"""An MDM vendor that signs customers' requests, with tools of its own."""

from __future__ import annotations

import base64
import plistlib

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.serialization import Encoding

from tests.support.certs import Issued
from tests.support.desk import APPLE


def signed_by(vendor: Issued, csr: bytes, *, chain: tuple[Issued, ...] | None = None) -> bytes:
    """What a vendor answers, made with its own tools."""
    der = x509.load_pem_x509_csr(csr).public_bytes(Encoding.DER)
    above = (APPLE.wwdr, APPLE.root) if chain is None else chain
    return base64.b64encode(
        plistlib.dumps(
            {
                "PushCertRequestCSR": base64.b64encode(der).decode(),
                "PushCertCertificateChain": "".join(one.pem.decode() for one in (vendor, *above)),
                "PushCertSignature": base64.b64encode(
                    vendor.key.sign(der, PKCS1v15(), hashes.SHA256())
                ).decode(),
            }
        )
    )
