"""What bytes are: certificate, request, key, page, mail. One look collects all that is found in them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from renewctl.certificate import private_key, wrappings
from renewctl.certificate.pushcert import PushCertificate
from renewctl.certificate.unlock import Locked, Unlocked, unlock
from renewctl.certificate.wrappings import Note
from renewctl.errors import Unusable
from renewctl.reasons import Reason

_MOST_CERTIFICATES = 20
_KEY_BYTES = 4096  # RSA 4096 in PKCS#8 takes 3.3 kB; checking a longer key's primes takes minutes
_DEEPEST = 3  # wrappings within wrappings: a mail holding base64 of base64
_MOST_UNLOCKS = 4  # children a file may cost us
_CMS_ENVELOPED = bytes.fromhex("06092a864886f70d010703")  # 1.2.840.113549.1.7.3, RFC 5652
_CMS_SIGNED = bytes.fromhex("06092a864886f70d010702")  # 1.2.840.113549.1.7.2
_P12_VERSION = bytes.fromhex("020103")  # INTEGER 3, RFC 7292
_SEQUENCE = b"\x30"

Passphrase = Callable[[], str]
"""Asks a person, or reads a secret; called only where a passphrase is really needed."""


class What(StrEnum):
    """What kind of thing a file is; shown as `intake.what.<what>`. The first that fits wins."""

    CERTIFICATE = "certificate"
    REQUEST = "request"  # the portal's plist
    CSR = "csr"
    PRIVATE_KEY = "private_key"
    ENCRYPTED_MESSAGE = "encrypted_message"
    WEB_PAGE = "web_page"


@dataclass
class Opener:
    """Opens what is locked, but not for ever.

    Attributes:
        left: how many children the file may still cost.
        keys: whether a locked key is wanted at all.
    """

    passphrase: Passphrase | None
    left: int = _MOST_UNLOCKS
    keys: bool = True

    def open(self, what: Locked, data: bytes, path: str, passphrase: str) -> Unlocked:
        """Open in a child process.

        Raises:
            Unusable: as `unlock`; LOCKED_TOO_COSTLY once the file had its share of children.
        """
        if not self.left:
            raise Unusable(Reason.LOCKED_TOO_COSTLY, path=path)
        self.left -= 1
        return unlock(what, data, passphrase, path=path)


@dataclass
class Look:
    """One look at one file; `at` fills the fields, which then are what `Intake` says of them."""

    path: str
    opener: Opener
    certificates: list[PushCertificate] = field(default_factory=list)
    csr: bytes | None = None
    keys: list[bytes] = field(default_factory=list)
    request: bytes | None = None
    encrypted: bool = False
    title: str | None = None
    damaged: bool = False
    notes: list[Note] = field(default_factory=list)

    @property
    def anything(self) -> bool:
        """Something was recognised, be it damaged."""
        return self.what() is not None or self.damaged

    def at(self, data: bytes, depth: int = 0) -> None:
        """Look at bytes: DER, or text with something in it."""
        if data.startswith(_SEQUENCE):
            self._der(data)
            if self.anything:
                return
        text, notes = wrappings.text_of(data)
        if "<plist" in text and "PushCertRequestCSR" in text:  # before PEM: it holds a chain
            self.request = text[text.index("<") :].encode()
            return
        blocks, around = wrappings.pem_blocks(text)
        for block in blocks:
            self._block(block)
        if blocks:
            self._note(*notes, *([Note.TEXT_AROUND] if around else []))
        if not self.anything and depth < _DEEPEST:
            self._wrapped(text, depth)
            self._note(*notes)

    def _wrapped(self, text: str, depth: int) -> None:
        for part in wrappings.mail_parts(text):
            self.at(part, depth + 1)
            if self.anything:
                self._note(Note.MAIL)
        if self.anything:
            return
        self.title = wrappings.page_title(text)
        for content in wrappings.bare_encodings(text):
            self.at(content, depth + 1)
            self._note(Note.BARE_BASE64)

    def _block(self, block: wrappings.Block) -> None:
        if block.label.endswith("PRIVATE KEY"):
            self._key(block)
        elif block.content is None:
            self.damaged = True
        elif block.label.endswith(("CERTIFICATE", "CERTIFICATE REQUEST", "PKCS7", "CMS")):
            found = self._count()
            self._der(block.content)
            self.damaged = self.damaged or self._count() == found

    def _count(self) -> int:
        return len(self.certificates) + (self.csr is not None) + self.encrypted

    def _der(self, data: bytes) -> None:
        der = _cut(data)
        if der is None:
            return
        head = der[:64]
        if _CMS_ENVELOPED in head:
            self.encrypted = True
        elif _CMS_SIGNED in head:
            self._pkcs7(der)
        elif _P12_VERSION in head[:8]:
            self._p12(der)
        elif not self._certificate(der):
            self._csr_or_key(der)

    def _certificate(self, der: bytes) -> bool:
        try:
            found = PushCertificate.from_der(der)
        except ValueError:
            return False
        if len(self.certificates) < _MOST_CERTIFICATES and found not in self.certificates:
            self.certificates.append(found)
        return True

    def _csr_or_key(self, der: bytes) -> None:
        try:
            request = x509.load_der_x509_csr(der)
        except (ValueError, x509.InvalidVersion):
            if len(der) <= _KEY_BYTES and _might_be_key(der):
                self._key(wrappings.Block("PRIVATE KEY", der))
            return
        self.csr = self.csr or request.public_bytes(Encoding.PEM)

    def _pkcs7(self, der: bytes) -> None:
        with suppress(ValueError, UnsupportedAlgorithm, x509.InvalidVersion):
            for certificate in pkcs7.load_der_pkcs7_certificates(der)[:_MOST_CERTIFICATES]:
                self._certificate(certificate.public_bytes(Encoding.DER))
                self._note(Note.PKCS7)

    def _key(self, block: wrappings.Block) -> None:
        pem = block.pem
        locked = block.label.startswith("ENCRYPTED") or any("ENCRYPTED" in line for line in block.headers)
        if locked:
            if self.opener.passphrase is None or not self.opener.keys:
                self._note(Note.KEY_LOCKED)
                return
            pem = self.opener.open(Locked.KEY, pem, self.path, self.opener.passphrase()).key or b""
        self._take_key(pem)

    def _take_key(self, pem: bytes) -> None:
        if len(pem) > _KEY_BYTES:
            self._note(Note.KEY_UNUSABLE)
            return
        try:
            self.keys.append(private_key.pkcs1(pem, self.path))
        except Unusable:
            self._note(Note.KEY_UNUSABLE)

    def _p12(self, der: bytes) -> None:
        try:
            opened = self.opener.open(Locked.P12, der, self.path, "")
        except Unusable as error:
            if error.reason is not Reason.PASSPHRASE_WRONG:
                raise
            if self.opener.passphrase is None:
                raise Unusable(Reason.PASSPHRASE_NEEDED, path=self.path) from None
            opened = self.opener.open(Locked.P12, der, self.path, self.opener.passphrase())
        self._note(Note.PKCS12)
        for certificate in opened.certificates[:_MOST_CERTIFICATES]:
            self._certificate(certificate)
        if opened.key is not None:
            self._take_key(opened.key)

    def _note(self, *notes: Note) -> None:
        self.notes += [note for note in notes if note not in self.notes]

    def what(self) -> What | None:
        """The kind of thing this is; None where nothing was recognised."""
        has_key = self.keys or Note.KEY_LOCKED in self.notes or Note.KEY_UNUSABLE in self.notes
        present = {
            What.CERTIFICATE: self.certificates,
            What.REQUEST: self.request is not None,
            What.CSR: self.csr is not None,
            What.PRIVATE_KEY: has_key,
            What.ENCRYPTED_MESSAGE: self.encrypted,
            What.WEB_PAGE: self.title is not None,
        }
        return next((what for what, there in present.items() if there), None)

    def fitting_key(self) -> bytes | None:
        """The key of one of the certificates, else the first key; PKCS#1 PEM."""
        wanted = {one.key_fingerprint for one in self.certificates}
        fitting = [key for key in self.keys if private_key.fingerprint(key, self.path) in wanted]
        return next(iter(fitting or self.keys), None)


def _cut(data: bytes) -> bytes | None:
    """The DER value at the start, without what trails it; None where the end is missing.

    An indefinite length (Keychain Access writes `.p12` files so) says nothing about the end.
    """
    if len(data) < 2 or data[1] == 0x80:  # noqa: PLR2004 - X.690 8.1.3.6: indefinite form
        return data if len(data) > 2 else None  # noqa: PLR2004
    octets = data[1] & 0x7F if data[1] & 0x80 else 0
    length = int.from_bytes(data[2 : 2 + octets], "big") if octets else data[1]
    end = 2 + octets + length
    return data[:end] if end <= len(data) else None


def _might_be_key(der: bytes) -> bool:
    """PKCS#1 and PKCS#8 begin with a version, INTEGER 0; so does nothing else that we look at."""
    return b"\x02\x01\x00" in der[:8]
