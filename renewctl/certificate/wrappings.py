"""What mail programs, editors and archives wrap around a certificate, undone. Pure: bytes and text alone.

Every function is linear in its input and bounded in its output: what comes here was made by anybody.
"""

from __future__ import annotations

import base64
import binascii
import html
import io
import re
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum


class Note(StrEnum):
    """An oddity that was undone, or that a person should know of; shown as `intake.note.<note>`."""

    BYTE_ORDER_MARK = "byte_order_mark"
    UTF16 = "utf16"
    TEXT_AROUND = "text_around"
    MAIL = "mail"
    BARE_BASE64 = "bare_base64"
    ARCHIVE = "archive"
    PKCS12 = "pkcs12"
    PKCS7 = "pkcs7"
    CHAIN_IN_FILE = "chain_in_file"
    KEY_IN_FILE = "key_in_file"
    KEY_LOCKED = "key_locked"
    KEY_UNUSABLE = "key_unusable"


_MOST_BLOCKS = 50
_MOST_MEMBERS = 64
_MEMBER_BYTES = 1024 * 1024
_ALL_MEMBERS_BYTES = 4 * _MEMBER_BYTES
_LOOKED_AT = 65_536  # characters in which a page shows that it is one
_TITLE = 80
_DASHES = "[-\u2010-\u2015\u2212]"  # editors turn "--" into one long dash
_BEGIN = re.compile(rf"{_DASHES}{{1,5}}[ \t]{{0,8}}BEGIN ([A-Z0-9 ]{{3,40}}?)[ \t]{{0,8}}{_DASHES}{{1,5}}")
_AROUND_END = "> \t\n-\u2010\u2011\u2012\u2013\u2014\u2015\u2212"
_HEADER = re.compile(r"^[A-Za-z][A-Za-z-]*:[^\n]*$", re.MULTILINE)
_NOISE = re.compile(r"[\s>\u200b\ufeff\x00]+")
_BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}")
_HEX = re.compile(r"(?:[0-9A-Fa-f]{2})+")
_BASE64_PART = re.compile(
    r"^Content-Transfer-Encoding:[ \t]{0,8}base64[ \t]{0,8}$", re.IGNORECASE | re.MULTILINE
)
_BASE64_LINES = re.compile(r"(?:[A-Za-z0-9+/=]{1,998}\n?)+")
_PAGE = re.compile(r"<!doctype html|<html[\s>]", re.IGNORECASE)
_PAGE_TITLE = re.compile(r"<title[^>]{0,200}>([^<]{0,400})", re.IGNORECASE)
_SHORTEST_BASE64 = 64  # characters; anything shorter is a word, not a certificate


@dataclass(frozen=True)
class Block:
    """One PEM block.

    Attributes:
        label: what stands after BEGIN.
        content: its bytes; None where they are damaged or the end is missing.
        headers: lines such as `Proc-Type: 4,ENCRYPTED`, of the old encrypted keys.
    """

    label: str
    content: bytes | None
    headers: tuple[str, ...] = ()

    @property
    def pem(self) -> bytes:
        """The block written anew, lines of 64."""
        body = base64.b64encode(self.content or b"").decode()
        lines = [body[at : at + 64] for at in range(0, len(body), 64)]
        head = [*self.headers, ""] if self.headers else []
        return "\n".join(
            [f"-----BEGIN {self.label}-----", *head, *lines, f"-----END {self.label}-----", ""]
        ).encode()


def text_of(data: bytes) -> tuple[str, tuple[Note, ...]]:
    """Decode; newlines become LF. What is neither UTF-8 nor UTF-16 is read byte by byte (Latin-1).

    Certificates are ASCII: whatever stands around them may be garbled without harm.
    """
    notes: tuple[Note, ...] = ()
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        text, notes = data.decode("utf-16", "replace"), (Note.UTF16,)
    elif encoding := _utf16_without_mark(data):
        text, notes = data.decode(encoding, "replace"), (Note.UTF16,)
    elif data.startswith(b"\xef\xbb\xbf"):
        text, notes = data[3:].decode("utf-8", "replace"), (Note.BYTE_ORDER_MARK,)
    else:
        try:
            text = data.decode()
        except UnicodeDecodeError:
            text = data.decode("latin-1")
    return text.replace("\r\n", "\n").replace("\r", "\n"), notes


def _utf16_without_mark(data: bytes) -> str | None:
    """ASCII in UTF-16 has a zero in every other place."""
    start = data[:256]
    even, odd = start[0::2], start[1::2]
    if not odd:
        return None
    if even.count(0) == 0 and odd.count(0) > 0.9 * len(odd):
        return "utf-16-le"
    return "utf-16-be" if odd.count(0) == 0 and even.count(0) > 0.9 * len(even) else None


def pem_blocks(text: str) -> tuple[list[Block], bool]:
    """The PEM blocks of a text, and whether anything but white space stands around them.

    Undone: quoted-printable, reply marks (`> `), lines joined or broken anew, newlines spelt out as
    backslash and n, dashes beautified by an editor.
    """
    blocks: list[Block] = []
    at, around = 0, False
    while len(blocks) < _MOST_BLOCKS and (begin := _BEGIN.search(text, at)):
        around = around or _says_something(text[at : begin.start()])
        label = begin[1].strip()
        end = text.find(f"END {label}", begin.end())
        if end < 0:
            blocks.append(Block(label, None))
            following = _BEGIN.search(text, begin.end())
            at = following.start() if following else len(text)
            continue
        blocks.append(_block(label, text[begin.end() : end]))
        at = end + len(f"END {label}")
    return blocks, around or _says_something(text[at:])


def _says_something(gap: str) -> bool:
    return bool(_NOISE.sub("", gap.strip(_AROUND_END)))


def _block(label: str, body: str) -> Block:
    headers = tuple(_HEADER.findall(body))
    body = _HEADER.sub("", body).replace("\\r", "").replace("\\n", "\n").rstrip(_AROUND_END)
    if "=3D" in body or "=\n" in body:  # quoted-printable writes "=" as "=3D" and ends its lines with "="
        body = re.sub("=[ \t]{0,8}\n", "", body).replace("=3D", "=")
    return Block(label, from_base64(body), headers)


def from_base64(text: str) -> bytes | None:
    """Decode base64 however it is broken into lines; None where it is not base64."""
    joined = _NOISE.sub("", text)
    if not _BASE64.fullmatch(joined):
        return None
    try:
        return base64.b64decode(joined, validate=True)
    except (binascii.Error, ValueError):
        return None


def bare_encodings(text: str) -> Iterator[bytes]:
    """What a text that is nothing but hex or base64 stands for."""
    joined = _NOISE.sub("", text)
    if len(joined) < _SHORTEST_BASE64:
        return
    if _HEX.fullmatch(joined):
        yield bytes.fromhex(joined)
    elif (decoded := from_base64(joined)) is not None:
        yield decoded


def mail_parts(text: str) -> Iterator[bytes]:
    """The attachments a mail carries in base64, each decoded; at most fifty."""
    for number, part in enumerate(_BASE64_PART.finditer(text)):
        blank = text.find("\n\n", part.end())
        if number == _MOST_BLOCKS or blank < 0:
            return
        lines = _BASE64_LINES.match(text, blank + 2)
        content = None if lines is None else from_base64(lines[0])
        if content:
            yield content


def page_title(text: str) -> str | None:
    """The title of a saved web page ("" where it has none); None where this is no web page."""
    start = text[:_LOOKED_AT]
    if not _PAGE.search(start):
        return None
    found = _PAGE_TITLE.search(start)
    words = html.unescape(found[1]) if found else ""
    shown = "".join(letter if letter.isprintable() else " " for letter in words)
    return " ".join(shown.split())[:_TITLE]


def is_archive(data: bytes) -> bool:
    """True for a ZIP."""
    return data.startswith((b"PK\x03\x04", b"PK\x05\x06"))


def members(archive: bytes) -> list[tuple[str, bytes]]:
    """The files of a ZIP that could be a certificate: small, neither packed in an odd way nor a Mac's extras.

    At most 64 names are looked at, and 4 MiB unpacked: a ZIP bomb ends there.

    Raises:
        ValueError: not a ZIP that can be read, or its files are encrypted.
        OverflowError: it unpacks to more than any certificate.
    """
    found: list[tuple[str, bytes]] = []
    left = _ALL_MEMBERS_BYTES
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as opened:
            for info in [one for one in opened.infolist() if _worth_a_look(one)][:_MOST_MEMBERS]:
                with opened.open(info) as stream:
                    content = stream.read(min(_MEMBER_BYTES + 1, left))
                left -= len(content)
                if left <= 0:
                    raise OverflowError("unpacks to too much")
                if len(content) <= _MEMBER_BYTES:
                    found.append((info.filename, content))
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, OSError, EOFError, RuntimeError) as error:
        raise ValueError("not a readable ZIP") from error
    return found


def _worth_a_look(info: zipfile.ZipInfo) -> bool:
    """Other packings than these two unpack a block at once, however large it says it is."""
    name = info.filename.rsplit("/", 1)[-1]
    return (
        bool(name)  # a folder's ends in a slash; some have none at all
        and not info.filename.startswith("__MACOSX/")
        and not name.startswith(".")
        and info.compress_type in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
    )
