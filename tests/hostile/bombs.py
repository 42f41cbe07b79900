"""Inputs made to hurt, for every parser: deep, long, multiplied, swollen. Small in here, large when made."""

from __future__ import annotations

import gzip
import io
import json
import struct
import tarfile
import zipfile
from functools import cache

_MEGABYTE = 1024 * 1024
_DEEP = 100_000


def _aliases() -> bytes:
    """Each line ten times the one before it ("billion laughs"), YAML."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    return "\n".join(lines).encode()


def _merges() -> bytes:
    lines = ["m0: &m0 {k: v}"]
    lines += [f"m{n}: &m{n} {{<<: [{', '.join([f'*m{n - 1}'] * 10)}]}}" for n in range(1, 12)]
    return "\n".join(lines).encode()


def _entities() -> bytes:
    entities = ['<!ENTITY e0 "xxxxxxxxxx">']
    entities += [f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 10)]
    return f'<?xml version="1.0"?><!DOCTYPE plist [{"".join(entities)}]><plist><string>&e9;</string></plist>'.encode()


def _binary_plist(objects: list[bytes], *, count: int | None = None) -> bytes:
    """A binary property list of these objects, the first of them on top; one-byte references."""
    body, offsets = b"bplist00", []
    for one in objects:
        offsets.append(len(body))
        body += one
    table = b"".join(offset.to_bytes(2, "big") for offset in offsets)
    size = len(objects) if count is None else count
    return body + table + struct.pack(">6xBBQQQ", 2, 1, size, 0, len(body))


def _plist_laughs() -> bytes:
    """Arrays of ten references to the next array: thirty levels."""
    levels = [bytes([0xAA, *[n + 1] * 10]) for n in range(30)]
    return _binary_plist([*levels, b"\x51x"])


def _plist_topic_laughs() -> bytes:
    """A check-in message whose topic is such an array: harmless until somebody writes it out."""
    levels = [bytes([0xAA, *[n + 1] * 10]) for n in range(2, 32)]
    return _binary_plist([bytes([0xD1, 1, 2]), b"\x55Topic", *levels, b"\x51x"])


def _tar(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for about, data in members:
            about.size = len(data)
            archive.addfile(about, io.BytesIO(data))
    return buffer.getvalue()


def _sparse_tar() -> bytes:
    """GNU's old sparse form: a file of a gigabyte without a block of data."""
    about = tarfile.TarInfo("manifest.json")
    header = bytearray(about.tobuf(tarfile.GNU_FORMAT))
    header[156:157] = b"S"
    header[386:398] = b"%011o\0" % (1 << 30)  # offset of the only part
    header[398:410] = b"%011o\0" % 0
    header[483:495] = b"%011o\0" % (1 << 30)  # real size
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + bytes(10240)


def _long_names() -> bytes:
    """A thousand headers each of which names the next one."""
    about = tarfile.TarInfo("././@LongLink")
    about.type, about.size = tarfile.GNUTYPE_LONGNAME, 2
    block = about.tobuf(tarfile.GNU_FORMAT) + b"a\0" + bytes(510)
    return block * 1500 + bytes(1024)


def _zip_bomb() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(30):
            archive.writestr(f"{number}.pem", bytes(8 * _MEGABYTE))
    return buffer.getvalue()


def _http_zipped() -> bytes:
    body = gzip.compress(bytes(300 * _MEGABYTE), 1)
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


@cache
def bombs() -> dict[str, bytes]:
    """Name -> input."""
    return {
        "empty": b"",
        "zeros": bytes(_MEGABYTE),
        "brackets": b"[" * _DEEP,
        "braces": b'{"a":' * _DEEP,
        "closed brackets": b"[" * _DEEP + b"]" * _DEEP,
        "brackets in a field": b'{"topic": ' + b"[" * _DEEP + b"]" * _DEEP + b"}",
        "yaml indented": b"\n".join(b" " * n + b"a:" for n in range(1500)),
        "yaml dashes": b"- " * 50_000,
        "yaml question marks": b"? " * 50_000,
        "yaml aliases": _aliases(),
        "yaml merges": _merges(),
        "yaml binary number": b"version: 0b" + b"1" * 500_000,
        "yaml sexagesimal": b"version: " + b"1:" * 100_000 + b"1",
        "digits": b"9" * 200_000,
        "digits in a field": b'{"version": ' + b"9" * 200_000 + b"}",
        "hexadecimal": b"version: 0x" + b"f" * 500_000,
        "exponent": b'{"version": 1e400, "seq": -1e400}',
        "many keys": json.dumps({f"k{n}": n for n in range(30_000)}).encode(),
        "many values": b"[" + b"0," * 300_000 + b"0]",
        "many lines": b"{}\n" * 100_000,
        "surrogates": b'"' + b"\\ud800" * 50_000 + b'"',
        "xml depth": b"<plist>" + b"<array>" * _DEEP,
        "xml entities": _entities(),
        "plist laughs": _plist_laughs(),
        "plist topic laughs": _plist_topic_laughs(),
        "plist count": _binary_plist([b"\x51x"], count=2**60),
        "plist long": _binary_plist([b"\x5f\x13" + (2**62).to_bytes(8, "big")]),
        "plist itself": _binary_plist([b"\xa1\x00"]),
        "der depth": b"\x30\x80" * _DEEP,
        "der length": b"\x30\x84\xff\xff\xff\xff",
        "pem beginnings": b"-----BEGIN PRIVATE KEY-----\n" * 37_000,
        "pem beginnings of certificates": b"-----BEGIN CERTIFICATE-----\n" * 37_000,
        "pem blanks": b"-----BEGIN CERTIFICATE-----" + b" " * _MEGABYTE,
        "dashes": b"-" * _MEGABYTE,
        "base64": b"A" * _MEGABYTE,
        "gzip": gzip.compress(bytes(300 * _MEGABYTE), 1)[:_MEGABYTE],
        "http gzip": _http_zipped()[: 2 * _MEGABYTE],
        "http headers": b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 100_000,
        "http length": b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n{}",
        "http chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"f" * 5000 + b"\r\n{}",
        "zip": _zip_bomb(),
        "tar sparse": _sparse_tar(),
        "tar long names": _long_names(),
        "tar of itself": _tar(*[(tarfile.TarInfo("manifest.json"), b"{}")] * 3),
        "age stanzas": b"age-encryption.org/v1\n" + b"-> X25519 a\n" * 80_000 + b"--- x\n",
        "words": b"tls alert timeout " * 50_000,
        "hex": b"0123456789abcdef" * 60_000,
        "lines": b"\n" * _MEGABYTE,
        "blanks": b" " * _MEGABYTE,
        "utf-16": b"\xff\xfe" + "<html>".encode("utf-16-le") * 80_000,
    }
