"""Files as people really have them, taken or explained.

`read` and `parse` give one neutral value for whatever the file is; asking that value for what is needed
(`leaf()`, `private_key()`) raises the explanation where it is something else. Nothing here writes, and
nothing outside a child process opens what is encrypted.
"""

from __future__ import annotations

import errno
import os
import stat
import warnings
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509

from renewctl.certificate import chain, wrappings
from renewctl.certificate.pushcert import PushCertificate
from renewctl.certificate.recognise import Look, Opener, Passphrase, What
from renewctl.certificate.wrappings import Note
from renewctl.errors import Unusable
from renewctl.reasons import Reason

LIMIT_BYTES = 1024 * 1024
"""No certificate, request or key comes near it; a 50 MB file is never read in."""

NOT_A_CERTIFICATE = {
    What.REQUEST: Reason.FILE_IS_REQUEST,
    What.CSR: Reason.FILE_IS_CSR,
    What.PRIVATE_KEY: Reason.FILE_IS_PRIVATE_KEY,
    What.ENCRYPTED_MESSAGE: Reason.FILE_IS_ENCRYPTED_MESSAGE,
    What.WEB_PAGE: Reason.FILE_IS_WEB_PAGE,
}
"""What to say where a certificate was wanted."""


@dataclass(frozen=True)
class Intake:
    """What a file holds.

    Attributes:
        path: the file's name, for people.
        what: what kind of thing it is.
        certificates: each once, in the file's order.
        csr: the certificate request in it, PEM.
        key: the private key in it, PKCS#1 PEM; None also where it is locked or unusable (see `notes`).
        request: the portal's plist in it, XML, whatever was wrapped around it.
        title: a saved web page's title.
        notes: oddities undone, and things a person should know.
    """

    path: str
    what: What
    certificates: tuple[PushCertificate, ...] = ()
    csr: bytes | None = None
    key: bytes | None = field(default=None, repr=False)
    request: bytes | None = None
    title: str | None = None
    notes: tuple[Note, ...] = ()

    def leaf(self) -> PushCertificate:
        """The one certificate that counts: the only one, or the one whose issuers all the others are.

        Raises:
            Unusable: FILE_IS_…, where it is something else; SEVERAL_CERTIFICATES.
        """
        if not self.certificates:
            raise Unusable(NOT_A_CERTIFICATE[self.what], path=self.path, title=self.title or "")
        loaded = [x509.load_der_x509_certificate(one.der) for one in self.certificates]
        ends = [one for one in loaded if not any(chain.issued(o, one) for o in loaded if o != one)]
        if len(ends) != 1 or not _all_above(ends[0], loaded):
            raise Unusable(
                Reason.SEVERAL_CERTIFICATES,
                path=self.path,
                got=len(self.certificates),
                expected=1,
                serials=", ".join(one.serial for one in self.certificates),
            )
        return self.certificates[loaded.index(ends[0])]

    def private_key(self) -> bytes:
        """The private key, PKCS#1 PEM.

        Raises:
            Unusable: PASSPHRASE_NEEDED, or KEY_UNREADABLE (damaged, not RSA, or none there).
        """
        if self.key is not None:
            return self.key
        reason = Reason.PASSPHRASE_NEEDED if Note.KEY_LOCKED in self.notes else Reason.KEY_UNREADABLE
        raise Unusable(reason, path=self.path)


def read(path: Path | str, passphrase: Passphrase | None = None, *, certificate_only: bool = False) -> Intake:
    """Read a file and say what it holds.

    Args:
        path: a regular file of at most 1 MiB; opened without blocking, whatever it is.
        passphrase: asked for the passphrase of a `.p12` or an encrypted key. Without it a `.p12` is
            opened only if it has none, and an encrypted key stays closed.
        certificate_only: nobody wants a key of it: an encrypted key stays closed, and nobody is asked.

    Raises:
        Unusable: with the reason why nothing can be made of it.
    """
    return parse(read_bytes(path), str(path), passphrase, certificate_only=certificate_only)


def read_bytes(path: Path | str) -> bytes:
    """The bytes of a regular file of at most 1 MiB.

    Raises:
        Unusable: FILE_NOT_FOUND, FILE_UNREADABLE, FILE_NOT_REGULAR, FILE_TOO_LARGE, FILE_EMPTY.
    """
    shown = str(path)
    try:
        number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except (OSError, ValueError) as error:
        raise Unusable(_why_closed(error), path=shown, got=_said(error)) from None
    try:
        status = os.fstat(number)
        if not stat.S_ISREG(status.st_mode):
            raise Unusable(Reason.FILE_NOT_REGULAR, path=shown)
        if status.st_size > LIMIT_BYTES:
            raise Unusable(Reason.FILE_TOO_LARGE, path=shown, got=status.st_size, expected=LIMIT_BYTES)
        data = _up_to(number, LIMIT_BYTES + 1)
    except OSError as error:
        raise Unusable(Reason.FILE_UNREADABLE, path=shown, got=_said(error)) from None
    finally:
        os.close(number)
    if not data:
        raise Unusable(Reason.FILE_EMPTY, path=shown)
    return data


def parse(
    data: bytes, path: str, passphrase: Passphrase | None = None, *, certificate_only: bool = False
) -> Intake:
    """Say what bytes hold; `path` is for people. Pure but for a `.p12`, opened in a child process.

    Raises:
        Unusable: as `read`.
    """
    if len(data) > LIMIT_BYTES:
        raise Unusable(Reason.FILE_TOO_LARGE, path=path, got=len(data), expected=LIMIT_BYTES)
    if not data.strip(b"\x00 \t\r\n\xff\xfe\xef\xbb\xbf"):
        raise Unusable(Reason.FILE_EMPTY, path=path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the library warns of odd certificates; we judge them
        look = Look(path, Opener(passphrase, keys=not certificate_only))
        if wrappings.is_archive(data):
            return _in_archive(data, look)
        look.at(data)
        return _intake(look)


def _why_closed(error: Exception) -> Reason:
    number = getattr(error, "errno", None)
    if number in {errno.ENOENT, errno.ENOTDIR}:
        return Reason.FILE_NOT_FOUND
    return Reason.FILE_NOT_REGULAR if number == errno.ENXIO else Reason.FILE_UNREADABLE  # ENXIO: a socket


def _said(error: Exception) -> str:
    return getattr(error, "strerror", None) or type(error).__name__


def _up_to(number: int, limit: int) -> bytes:
    found = bytearray()
    while len(found) < limit and (more := os.read(number, limit - len(found))):
        found += more
    return bytes(found)


def _all_above(leaf: x509.Certificate, pool: list[x509.Certificate]) -> bool:
    above = [leaf]
    for one in above:  # grows while it is walked
        above += [other for other in pool if other not in above and chain.issued(one, other)]
    return len(above) == len(pool)


def _intake(look: Look) -> Intake:
    what = look.what()
    if look.damaged and not look.certificates:
        raise Unusable(Reason.CERTIFICATE_UNREADABLE, path=look.path)
    if what is None:
        raise Unusable(Reason.FILE_NOT_RECOGNISED, path=look.path)
    notes = list(look.notes)
    if len(look.certificates) > 1:
        notes.append(Note.CHAIN_IN_FILE)
    if look.keys and look.certificates:
        notes.append(Note.KEY_IN_FILE)
    return Intake(
        path=look.path,
        what=what,
        certificates=tuple(look.certificates),
        csr=look.csr,
        key=look.fitting_key(),
        request=look.request,
        title=look.title,
        notes=tuple(notes),
    )


def _in_archive(data: bytes, look: Look) -> Intake:
    """The one file of a ZIP that holds a certificate; without any, the one that holds anything."""
    try:
        inside = wrappings.members(data)
    except OverflowError:
        raise Unusable(Reason.ARCHIVE_TOO_LARGE, path=look.path) from None
    except ValueError:
        raise Unusable(Reason.ARCHIVE_UNREADABLE, path=look.path) from None
    found: list[Intake] = []
    for name, content in inside:
        one = Look(f"{look.path}:{_printable(name)}", look.opener, notes=[Note.ARCHIVE])
        try:
            one.at(content)
            found.append(_intake(one))
        except Unusable as error:
            if error.reason not in {Reason.FILE_NOT_RECOGNISED, Reason.CERTIFICATE_UNREADABLE}:
                raise
    candidates = [one for one in found if one.certificates] or found
    if not candidates:
        raise Unusable(Reason.ARCHIVE_WITHOUT_CERTIFICATE, path=look.path, got=len(inside))
    if len(candidates) > 1:
        names = ", ".join(one.path.removeprefix(f"{look.path}:") for one in candidates)
        raise Unusable(Reason.ARCHIVE_WITH_SEVERAL, path=look.path, got=names, expected=1)
    return candidates[0]


def _printable(name: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in name)[:80]
