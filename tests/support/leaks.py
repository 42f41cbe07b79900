"""Looks for secrets: in every usual encoding, in files, and in what processes show while they run."""

from __future__ import annotations

import base64
import os
import re
import struct
import threading
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

_LONG_ENOUGH = 24
_URL_SAFE = bytes.maketrans(b"+/", b"-_")
_UNPACKED_AT_MOST = 64 * 2**20
_COMPRESSED = re.compile(rb"\x1f\x8b\x08|\x78[\x01\x5e\x9c\xda]|PK\x03\x04.{22}", re.DOTALL)
"""Heads of gzip, zlib, and of a file in a zip with the lengths of its name and its extra field to come."""

_BASE64 = re.compile(rb"(?:H4sI|eJ|eA|eN|eF|UEsDB)[A-Za-z0-9+/]{40,}")
"""What `_COMPRESSED` begins with in base64."""


def forms_of_key(pem: bytes) -> set[bytes]:
    """A private key in every usual encoding, cut so that a part of it is found too.

    Single lines of PEM (so also PEM in JSON, with its line ends escaped, or without any), DER, the numbers
    themselves; each plain and as `_spelled`.
    """
    key = load_pem_private_key(pem, None)
    assert isinstance(key, rsa.RSAPrivateKey)
    wanted: set[bytes] = set()
    for style in (PrivateFormat.TraditionalOpenSSL, PrivateFormat.PKCS8):
        text = key.private_bytes(Encoding.PEM, style, NoEncryption())
        der = key.private_bytes(Encoding.DER, style, NoEncryption())
        lines = [line for line in text.splitlines() if len(line) > _LONG_ENOUGH and b"-----" not in line]
        secret_lines = lines[8:]  # the modulus, which is public, comes first
        wanted |= set(secret_lines) | {line.translate(_URL_SAFE) for line in secret_lines}
        wanted |= {quote(line, safe="").encode() for line in secret_lines}
        half = len(der) // 2
        wanted |= _spelled(der[half : half + 48]) | _spelled(secret_lines[len(secret_lines) // 2][:48])
        wanted |= _in_base64(text[len(text) // 2 :][:60])
    numbers = key.private_numbers()
    for number in (numbers.p, numbers.q, numbers.d):
        raw = number.to_bytes((number.bit_length() + 7) // 8)
        wanted |= {*_spelled(raw[:48]), str(number)[:80].encode()}
    return wanted


def forms_of_text(secret: str) -> set[bytes]:
    """A password or an identity: plain, in lower case, and as `_spelled`."""
    return {secret.encode().lower(), *_spelled(secret.encode())}


def _spelled(raw: bytes) -> set[bytes]:
    """Bytes as programs show them: hex (upper case, with colons), Python's repr, UTF-16, base64, URL-encoded."""
    shown = repr(raw)[2:-1]
    wide = raw.decode("latin-1")
    return {
        raw,
        *(one for text in (raw.hex(), raw.hex(":")) for one in (text.encode(), text.upper().encode())),
        shown.encode(),
        shown.replace("\\'", "'").encode(),  # which of the quotes is escaped depends on what stands around
        shown.replace("'", "\\'").encode(),
        wide.encode("utf-16-le"),
        wide.encode("utf-16-be"),
        quote(raw, safe="").encode(),
        *_in_base64(raw),
    }


def _in_base64(raw: bytes) -> set[bytes]:
    """What is the same in base64 whatever stands before and after it (a user's name before a password, say)."""
    found = set()
    for before in range(3):
        text = base64.b64encode(b"\0" * before + raw)
        found.add(text[(0, 2, 3)[before] : len(text) - 4])
    return found | {one.translate(_URL_SAFE) for one in found}


def leaks(places: Mapping[str, bytes], secrets: Mapping[str, set[bytes]]) -> set[tuple[str, str]]:
    """(place, name of the secret) for every secret found; compressed parts are unpacked, folded lines joined."""
    return {
        (place, name)
        for place, packed in places.items()
        for content in unpacked(packed)
        for name, forms in secrets.items()
        if any(form in content for form in forms)
    }


def unpacked(content: bytes, deep: int = 2) -> Iterator[bytes]:
    """The content, the same without white space, and what is compressed in it (gzip, zlib, zip), also in base64."""
    joined = content.translate(None, b" \t\r\n")
    yield from (content, joined)
    if deep == 0:
        return
    inner = [_inflated(content, found) for found in _COMPRESSED.finditer(content)]
    inner += [_decoded(found.group()) for found in _BASE64.finditer(joined)]
    for one in filter(None, inner):
        yield from unpacked(one, deep - 1)


def _decoded(text: bytes) -> bytes:
    return base64.b64decode(text[: len(text) - len(text) % 4])


def _inflated(content: bytes, found: re.Match[bytes]) -> bytes:
    start, way = found.start(), zlib.MAX_WBITS | 32  # gzip or zlib, as its head says
    if found.group().startswith(b"PK"):
        name, extra = struct.unpack_from("<HH", content, start + 26)
        start, way = start + 30 + name + extra, -zlib.MAX_WBITS
    try:
        return zlib.decompressobj(way).decompress(memoryview(content)[start:], _UNPACKED_AT_MOST)
    except zlib.error:
        return b""


def files_in(folders: Iterable[Path]) -> dict[str, bytes]:
    """Path -> content of every file there is; what goes away meanwhile is left out."""
    found = {}
    for folder in folders:
        names = [Path(root) / name for root, _, files in os.walk(folder) for name in files]
        for path in names:
            try:
                if path.is_file() and not path.is_symlink():
                    found[str(path)] = path.read_bytes()
            except OSError:
                continue
    return found


@dataclass
class Seen:
    """What was seen while something ran.

    Attributes:
        processes: every argument list and every environment.
        files: path -> every content seen in it.
        core_limits: soft and hard core limit of every `ansible-playbook`.
    """

    processes: set[bytes] = field(default_factory=set)
    files: dict[str, set[bytes]] = field(default_factory=dict)
    core_limits: set[bytes] = field(default_factory=set)

    @property
    def places(self) -> dict[str, bytes]:
        """To be searched."""
        return {
            "processes": b"\0".join(self.processes),
            **{f"while running: {path}": b"\0".join(contents) for path, contents in self.files.items()},
        }


@contextmanager
def watched(*folders: Path, whose: str = "") -> Iterator[Seen]:
    """Look at all processes and at the files of some folders, as fast as one thread can, until the end.

    Args:
        folders: whose files are looked at.
        whose: what the environment of an `ansible-playbook` of ours holds, for its core limit.
    """
    seen, stop = Seen(), threading.Event()

    def look() -> None:
        while not stop.is_set():
            for process in Path("/proc").glob("[0-9]*"):
                _look_at(process, seen, whose.encode())
            for path, content in files_in(folders).items():
                seen.files.setdefault(path, set()).add(content)
            time.sleep(0.02)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()


def _look_at(process: Path, seen: Seen, whose: bytes) -> None:
    try:
        arguments, environment = (process / "cmdline").read_bytes(), (process / "environ").read_bytes()
        seen.processes |= {arguments, environment}
        if b"ansible.cli.playbook" in arguments and whose in environment:
            limits = (process / "limits").read_bytes().splitlines()
            seen.core_limits |= {b" ".join(line.split()[4:6]) for line in limits if b"core file" in line}
    except OSError:
        return
