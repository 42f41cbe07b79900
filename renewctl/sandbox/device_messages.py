"""What a device says over the MDM protocol: property lists, and the signature that proves who speaks."""

from __future__ import annotations

import base64
import plistlib
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

CHECK_IN_TYPE = "application/x-apple-aspen-mdm-checkin"
"""Content type of Authenticate, TokenUpdate and CheckOut."""

COMMAND_TYPE = "application/x-apple-aspen-mdm"
"""Content type of Idle and of answers to commands."""


@dataclass(frozen=True)
class Device:
    """One simulated device.

    Attributes:
        udid: its name, and the enrollment's id.
        serial_number: printed on its back.
        topic: the push certificate's topic its profile names.
        token: for pushes.
        magic: the PushMagic it waits for.
        identity: its certificate; all devices share one key.
        url: where it checks in, e.g. `http://127.0.0.1:9000/mdm`.
        node: the node's name, for logs.
    """

    udid: str
    serial_number: str
    topic: str
    token: bytes
    magic: str
    identity: x509.Certificate
    url: str
    node: str


def authenticate(device: Device) -> bytes:
    """The first message of an enrollment."""
    return _plist(
        device,
        "Authenticate",
        SerialNumber=device.serial_number,
        DeviceName=device.serial_number,
        Model="MacBookPro18,3",
    )


def token_update(device: Device) -> bytes:
    """The second: from now on it can be woken."""
    return _plist(device, "TokenUpdate", PushMagic=device.magic, Token=device.token)


def check_out(device: Device) -> bytes:
    """The last: it leaves."""
    return _plist(device, "CheckOut")


def idle(device: Device) -> bytes:
    """What a woken device says: here I am, is there anything to do?"""
    return plistlib.dumps({"UDID": device.udid, "Status": "Idle"})


def _plist(device: Device, message: str, **more: str | bytes) -> bytes:
    return plistlib.dumps({"MessageType": message, "UDID": device.udid, "Topic": device.topic, **more})


def signature(body: bytes, identity: x509.Certificate, key: rsa.RSAPrivateKey) -> str:
    """The `Mdm-Signature` header: base64 of a detached PKCS#7 signature over the body."""
    signed = (
        pkcs7.PKCS7SignatureBuilder()
        .set_data(body)
        .add_signer(identity, key, SHA256())
        .sign(
            Encoding.DER,
            [
                pkcs7.PKCS7Options.DetachedSignature,
                pkcs7.PKCS7Options.Binary,
                pkcs7.PKCS7Options.NoCapabilities,
            ],
        )
    )
    return base64.b64encode(signed).decode()
