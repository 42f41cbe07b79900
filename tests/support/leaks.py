"""Looks for secrets: in every usual encoding, in files, and in what processes show while they run."""

from __future__ import annotations

import base64
import os
import threading
import time
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


def forms_of_key(pem: bytes) -> set[bytes]:
    """A private key in every usual encoding, cut so that a part of it is found too.

    Single lines of PEM (so also PEM in JSON, with its line ends escaped, or without any), DER, the numbers
    themselves; each plain, in hex, in base64 (also URL-safe), URL-encoded.
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
        wanted |= {der[half : half + 48], text[len(text) // 2 :][:48].hex().encode()}
        wanted |= _in_base64(text[len(text) // 2 :][:60])
    numbers = key.private_numbers()
    for number in (numbers.p, numbers.q, numbers.d):
        raw = number.to_bytes((number.bit_length() + 7) // 8)
        wanted |= {raw[:48], raw.hex()[:96].encode(), raw.hex()[:96].upper().encode()}
        wanted |= {str(number)[:80].encode(), *_in_base64(raw[:60])}
    return wanted


def forms_of_text(secret: str) -> set[bytes]:
    """A password or an identity: plain, in hex, in base64 wherever it stands, URL-encoded."""
    raw = secret.encode()
    return {raw, raw.lower(), raw.hex().encode(), quote(secret, safe="").encode(), *_in_base64(raw)}


def _in_base64(raw: bytes) -> set[bytes]:
    """What is the same in base64 whatever stands before and after it (a user's name before a password, say)."""
    found = set()
    for before in range(3):
        text = base64.b64encode(b"\0" * before + raw)
        found.add(text[(0, 2, 3)[before] : len(text) - 4])
    return found | {one.translate(_URL_SAFE) for one in found}


def leaks(places: Mapping[str, bytes], secrets: Mapping[str, set[bytes]]) -> set[tuple[str, str]]:
    """(place, name of the secret) for every secret found."""
    return {
        (place, name)
        for place, content in places.items()
        for name, forms in secrets.items()
        if any(form in content for form in forms)
    }


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
