"""Files as people really have them: taken, or explained."""

from __future__ import annotations

import base64
import quopri
import zipfile
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    pkcs7,
)

from renewctl.certificate.intake import parse, read
from renewctl.certificate.recognise import What
from renewctl.certificate.wrappings import Note
from renewctl.errors import Unusable
from renewctl.reasons import Reason
from tests.support.certfiles import APPLE, CSR, LOCKED, PAGE, PUSH, TEXT, mail, p12, quoted, zipped
from tests.support.certs import Issued

TAKEN: dict[str, tuple[bytes, set[Note]]] = {
    "as downloaded": (PUSH.pem, set()),
    "CRLF": (TEXT.replace("\n", "\r\n").encode(), set()),
    "CR": (TEXT.replace("\n", "\r").encode(), set()),
    "no last newline": (TEXT.strip().encode(), set()),
    "UTF-8 with BOM": (b"\xef\xbb\xbf" + PUSH.pem, {Note.BYTE_ORDER_MARK}),
    "UTF-16": (TEXT.encode("utf-16"), {Note.UTF16}),
    "UTF-16 big end first": (b"\xfe\xff" + TEXT.encode("utf-16-be"), {Note.UTF16}),
    "UTF-16 without a mark": (TEXT.encode("utf-16-le"), {Note.UTF16}),
    "UTF-16 big end first without a mark": (TEXT.encode("utf-16-be"), {Note.UTF16}),
    "DER": (PUSH.der, set()),
    "DER with a newline behind": (PUSH.der + b"\r\n", set()),
    "text before": (
        b"Bag Attributes\n    friendlyName: push\nsubject=/UID=x\n" + PUSH.pem,
        {Note.TEXT_AROUND},
    ),
    "Japanese text in Shift_JIS before": ("証明書です\n".encode("cp932") + PUSH.pem, {Note.TEXT_AROUND}),
    "text behind": (PUSH.pem + b"\n-- \nSent from my iPhone\n", {Note.TEXT_AROUND}),
    "zeros behind": (PUSH.pem + b"\x00" * 64, set()),
    "X509 CERTIFICATE": (TEXT.replace(" CERTIFICATE", " X509 CERTIFICATE").encode(), set()),
    "twice the same": (PUSH.pem * 2, set()),
    "indented": (TEXT.replace("\n", "\n    ").encode(), set()),
    "one line": (TEXT.replace("\n", " ").encode(), set()),
    "newlines spelt out": (TEXT.replace("\n", "\\n").encode(), {Note.TEXT_AROUND}),
    "lines of 76": (
        b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(PUSH.der) + b"-----END CERTIFICATE-----",
        set(),
    ),
    "dashes beautified": (TEXT.replace("-----", "\u2014\u2014-").encode(), set()),
    "quoted-printable": (quopri.encodestring(PUSH.pem, quotetabs=False), set()),
    "broken by a mail program": (TEXT.replace("MII", "MI=\nI").encode(), set()),
    "quoted in a reply": (quoted(TEXT), set()),
    "mail with the file attached": (mail(PUSH.pem), {Note.MAIL}),
    "mail with DER attached": (mail(PUSH.der), {Note.MAIL}),
    "base64 alone": (base64.b64encode(PUSH.der), {Note.BARE_BASE64}),
    "base64 of PEM": (base64.encodebytes(PUSH.pem), {Note.BARE_BASE64}),
    "hex": (PUSH.der.hex().encode(), {Note.BARE_BASE64}),
    "with its issuers": (PUSH.pem + APPLE.aai2.pem + APPLE.root.pem, {Note.CHAIN_IN_FILE}),
    "issuers first": (APPLE.root.pem + APPLE.aai2.pem + PUSH.pem, {Note.CHAIN_IN_FILE}),
    "with its key": (PUSH.pem + PUSH.key_pem, {Note.KEY_IN_FILE}),
    "with a locked key": (LOCKED + PUSH.pem, {Note.KEY_LOCKED}),
    "with a key cut off": (PUSH.pem + PUSH.key_pem[:400], {Note.KEY_UNUSABLE}),
    "damaged certificate beside a good one": (PUSH.pem + APPLE.root.pem[:200], set()),
    "PKCS#7": (
        pkcs7.serialize_certificates([PUSH.certificate, APPLE.aai2.certificate], Encoding.PEM),
        {Note.PKCS7, Note.CHAIN_IN_FILE},
    ),
    "PKCS#7 DER": (pkcs7.serialize_certificates([PUSH.certificate], Encoding.DER), {Note.PKCS7}),
    "PKCS#12 without passphrase": (p12(None), {Note.PKCS12, Note.CHAIN_IN_FILE, Note.KEY_IN_FILE}),
    "ZIP": (zipped(("MDM_ Example_Certificate.pem", PUSH.pem)), {Note.ARCHIVE}),
    "ZIP of a Mac": (
        zipped(
            ("x/", b""),
            ("x/c.pem", PUSH.pem),
            ("__MACOSX/x/._c.pem", b"Mac OS X"),
            ("x/.DS_Store", b"\x00"),
            ("x/readme.txt", b"hello"),
        ),
        {Note.ARCHIVE},
    ),
    "ZIP with the request beside": (
        zipped(("c.pem", PUSH.pem), ("r.csr", CSR.public_bytes(Encoding.PEM))),
        {Note.ARCHIVE},
    ),
}


@pytest.mark.parametrize("case", TAKEN)
def test_taken(case: str) -> None:
    """The certificate is found, whatever is around it, and the oddity is named."""
    data, notes = TAKEN[case]
    found = parse(data, "file")
    assert found.leaf().der == PUSH.der
    assert found.what is What.CERTIFICATE
    assert notes <= set(found.notes)
    assert Note.TEXT_AROUND in notes or Note.TEXT_AROUND not in found.notes


def test_several_notes_in_a_file_name_any_pem_txt(tmp_path: Path) -> None:
    """The name of a file decides nothing."""
    path = tmp_path / "証明書 (1).pem.txt"
    path.write_bytes(PUSH.pem)
    found = read(path)
    assert (found.leaf().der, found.path, found.notes) == (PUSH.der, str(path), ())


NO_CERTIFICATE: dict[str, tuple[bytes, Reason]] = {
    "CSR": (CSR.public_bytes(Encoding.PEM), Reason.FILE_IS_CSR),
    "CSR in DER": (CSR.public_bytes(Encoding.DER), Reason.FILE_IS_CSR),
    "key": (PUSH.key_pem, Reason.FILE_IS_PRIVATE_KEY),
    "key in DER": (
        PUSH.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()),
        Reason.FILE_IS_PRIVATE_KEY,
    ),
    "PKCS#1 key in DER": (
        PUSH.key.private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption()),
        Reason.FILE_IS_PRIVATE_KEY,
    ),
    "locked key": (LOCKED, Reason.FILE_IS_PRIVATE_KEY),
    "request": (
        base64.b64encode(b"<plist><dict><key>PushCertRequestCSR</key></dict></plist>"),
        Reason.FILE_IS_REQUEST,
    ),
    "page": (PAGE.encode(), Reason.FILE_IS_WEB_PAGE),
    "page without a title": (b"<HTML>\n<body>", Reason.FILE_IS_WEB_PAGE),
}


@pytest.mark.parametrize("case", NO_CERTIFICATE)
def test_explained_where_a_certificate_is_wanted(case: str) -> None:
    """What it is can be asked; asking it for its certificate says why there is none."""
    data, reason = NO_CERTIFICATE[case]
    found = parse(data, "file")
    with pytest.raises(Unusable) as caught:
        found.leaf()
    assert (caught.value.reason, caught.value.values["path"]) == (reason, "file")


def test_a_pages_title_is_shown_without_tricks() -> None:
    """Entities and white space are resolved, characters that turn a terminal's text round are dropped."""
    assert parse(PAGE.encode(), "file").title == "Sign In & Wait"
    assert parse(b"<html><body>", "file").title == ""


def test_an_encrypted_message_is_named() -> None:
    """A CMS envelope, as a DER file, and in hex as mdmcert.download mails it."""
    envelope = (
        pkcs7.PKCS7EnvelopeBuilder()
        .set_data(b"secret")
        .add_recipient(PUSH.certificate)
        .encrypt(Encoding.DER, [])
    )
    for data in (envelope, envelope.hex().encode()):
        with pytest.raises(Unusable) as caught:
            parse(data, "file").leaf()
        assert caught.value.reason is Reason.FILE_IS_ENCRYPTED_MESSAGE


UNUSABLE: dict[str, tuple[bytes, Reason]] = {
    "empty": (b"", Reason.FILE_EMPTY),
    "white space": (b"\xef\xbb\xbf \r\n\x00", Reason.FILE_EMPTY),
    "text": (b"hello", Reason.FILE_NOT_RECOGNISED),
    "junk": (bytes(range(256)) * 8, Reason.FILE_NOT_RECOGNISED),
    "DER cut off": (PUSH.der[:-10], Reason.FILE_NOT_RECOGNISED),
    "a lone SEQUENCE": (b"0", Reason.FILE_NOT_RECOGNISED),
    "an endless SEQUENCE": (b"\x30\x80", Reason.FILE_NOT_RECOGNISED),
    "PEM cut off": (PUSH.pem[:600], Reason.CERTIFICATE_UNREADABLE),
    "a letter lost": (PUSH.pem.replace(b"MII", b"MI", 1), Reason.CERTIFICATE_UNREADABLE),
    "a character no base64 has": (PUSH.pem.replace(b"MII", b"M!I", 1), Reason.CERTIFICATE_UNREADABLE),
    "PEM of nothing": (
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----",
        Reason.CERTIFICATE_UNREADABLE,
    ),
    "PKCS#7 damaged": (
        pkcs7.serialize_certificates([PUSH.certificate], Encoding.DER).replace(b"\xa0", b"\x7f"),
        Reason.FILE_NOT_RECOGNISED,
    ),
    "a mail that ends after its header": (
        b"Content-Transfer-Encoding: base64\r\n",
        Reason.FILE_NOT_RECOGNISED,
    ),
    "a mail with nothing attached": (
        b"Content-Transfer-Encoding: base64\n\n!!!\n",
        Reason.FILE_NOT_RECOGNISED,
    ),
    "PEM of something else": (
        b"-----BEGIN PGP MESSAGE-----\nAAAA\n-----END PGP MESSAGE-----",
        Reason.FILE_NOT_RECOGNISED,
    ),
    "50 MB": (bytes(50 * 1024 * 1024), Reason.FILE_TOO_LARGE),
    "locked PKCS#12": (p12(b"open"), Reason.PASSPHRASE_NEEDED),
    "ZIP damaged": (zipped(("c.pem", PUSH.pem))[:-8], Reason.ARCHIVE_UNREADABLE),
    "ZIP without a certificate": (zipped(("a.txt", b"hello")), Reason.ARCHIVE_WITHOUT_CERTIFICATE),
    "ZIP of nothing": (zipped(), Reason.ARCHIVE_WITHOUT_CERTIFICATE),
    "ZIP with a damaged one": (zipped(("c.pem", PUSH.pem[:600])), Reason.ARCHIVE_WITHOUT_CERTIFICATE),
    "ZIP within ZIP": (zipped(("z", zipped(("c.pem", PUSH.pem)))), Reason.ARCHIVE_WITHOUT_CERTIFICATE),
    "ZIP with two": (
        zipped(("old.pem", APPLE.push().pem), ("new.pem", PUSH.pem)),
        Reason.ARCHIVE_WITH_SEVERAL,
    ),
    "ZIP with a locked PKCS#12": (zipped(("c.p12", p12(b"open"))), Reason.PASSPHRASE_NEEDED),
    "ZIP packed so that one block may unpack to anything": (
        zipped(("c.pem", PUSH.pem), packing=zipfile.ZIP_BZIP2),
        Reason.ARCHIVE_WITHOUT_CERTIFICATE,
    ),
    "ZIP bomb": (
        zipped(*[(f"{n}.pem", bytes(1024 * 1024)) for n in range(9)]),
        Reason.ARCHIVE_TOO_LARGE,
    ),
    "ZIP with one file too large": (
        zipped(("a.pem", bytes(3 * 1024 * 1024))),
        Reason.ARCHIVE_WITHOUT_CERTIFICATE,
    ),
}


@pytest.mark.parametrize("case", UNUSABLE)
def test_refused(case: str) -> None:
    """One reason each, and the file's name."""
    data, reason = UNUSABLE[case]
    with pytest.raises(Unusable) as caught:
        parse(data, "file")
    assert caught.value.reason is reason
    assert str(caught.value.values["path"]).startswith("file")


@pytest.mark.parametrize(
    "others",
    [(APPLE.push(),), (APPLE.root, APPLE.vendor()), (APPLE.wwdr,)],
    ids=["last year's", "another's", "an authority of others"],
)
def test_several_certificates_are_refused_unless_the_others_are_its_issuers(
    others: tuple[Issued, ...],
) -> None:
    """Nobody guesses which one is meant."""
    found = parse(PUSH.pem + b"".join(one.pem for one in others), "file")
    with pytest.raises(Unusable) as caught:
        found.leaf()
    assert caught.value.reason is Reason.SEVERAL_CERTIFICATES
    assert caught.value.values["got"] == 1 + len(others)


def test_a_flood_of_certificates_is_not_read_to_its_end() -> None:
    """Twenty are enough to know that nobody can tell which one is meant."""
    many = b"".join(APPLE.push(serial=number).pem for number in range(1, 61))
    assert len(parse(many, "file").certificates) == 20


def test_a_file_name_in_a_zip_cannot_play_tricks() -> None:
    """Control characters of a member's name do not reach a terminal."""
    found = parse(zipped(("a\x1b[31m.pem", PUSH.pem)), "file.zip")
    assert found.path == "file.zip:a?[31m.pem"
