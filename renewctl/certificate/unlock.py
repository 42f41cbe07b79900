"""Open an encrypted key or a `.p12` from outside, in a child process with CPU and memory limits.

Whoever made the file chose how often its passphrase is stretched: 2^31 rounds would keep this process
inside C for minutes, and scrypt may ask for gigabytes. The child gives up instead. Passphrase and file
go in through its standard input, key and certificates come back through its standard output: nothing is
in an argument, the environment or on disk.
"""

from __future__ import annotations

import base64
import json
import resource
import subprocess
import sys
from dataclasses import dataclass, field
from enum import StrEnum
from typing import BinaryIO

from renewctl.errors import Unusable
from renewctl.reasons import Reason

CPU_SECONDS = 3  # honest files ask for up to two million rounds (Firefox), which take half a second
MEMORY_BYTES = 256 * 1024 * 1024  # address space; the interpreter with its libraries takes about a sixth
_WALL_SECONDS = 30.0  # a busy machine may take its time, a stuck child may not
_LENGTH_BYTES = 4


class Locked(StrEnum):
    """What is to be opened."""

    KEY = "key"  # an encrypted private key, PEM
    P12 = "p12"  # PKCS#12, as Keychain Access and Windows export it


class _Code:
    """The child's exit codes."""

    OPENED = 0
    WRONG = 3  # passphrase wrong or file damaged: the formats do not tell which
    UNSUPPORTED = 4


@dataclass(frozen=True)
class Unlocked:
    """What came out.

    Attributes:
        certificates: DER, the one that belongs to the key first.
        key: PEM, unencrypted (PKCS#8); None where a `.p12` holds none.
        name: what a `.p12` calls the key's certificate (its friendly name), UTF-8; None where it has no name.
    """

    certificates: tuple[bytes, ...]
    key: bytes | None = field(repr=False)
    name: bytes | None = None


def unlock(what: Locked, data: bytes, passphrase: str, *, path: str) -> Unlocked:
    """Open `data` with `passphrase`.

    Args:
        what: the kind of file.
        data: its bytes.
        passphrase: may be empty.
        path: for the error alone.

    Raises:
        Unusable: PASSPHRASE_WRONG, LOCKED_UNSUPPORTED (an algorithm nobody here speaks) or
            LOCKED_TOO_COSTLY (the limits ended it).
    """
    secret = passphrase.encode()
    message = len(secret).to_bytes(_LENGTH_BYTES, "big") + secret + data
    command = [sys.executable, "-I", "-m", "renewctl.certificate.unlock", what.value]
    try:
        done = subprocess.run(command, input=message, capture_output=True, timeout=_WALL_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise Unusable(Reason.LOCKED_TOO_COSTLY, path=path) from None
    if done.returncode == _Code.WRONG:
        raise Unusable(Reason.PASSPHRASE_WRONG, path=path)
    if done.returncode == _Code.UNSUPPORTED:
        raise Unusable(Reason.LOCKED_UNSUPPORTED, path=path)
    if done.returncode != _Code.OPENED:
        raise Unusable(Reason.LOCKED_TOO_COSTLY, path=path)
    answer = json.loads(done.stdout)
    return Unlocked(
        certificates=tuple(base64.b64decode(text) for text in answer["certificates"]),
        key=None if answer["key"] is None else answer["key"].encode(),
        name=None if answer["name"] is None else base64.b64decode(answer["name"]),
    )


def child(what: Locked, given: BinaryIO) -> tuple[int, bytes]:
    """The child's half: read passphrase and file, answer exit code and standard output.

    `MemoryError` is left to the interpreter: it ends the child with a code of its own, which the
    parent takes for "too costly", as it does the signal that ends a child out of CPU time.
    """
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415 - after the limits are set

    secret = given.read(int.from_bytes(given.read(_LENGTH_BYTES), "big"))
    try:
        answer = _open(what, given.read(), secret)
    except UnsupportedAlgorithm:
        return _Code.UNSUPPORTED, b""
    except (ValueError, TypeError) as error:
        # the library says "Unknown key encryption algorithm" and the like with the same exception
        return _Code.UNSUPPORTED if "unknown" in str(error).lower() else _Code.WRONG, b""
    return _Code.OPENED, json.dumps(answer).encode()


def _open(what: Locked, data: bytes, secret: bytes) -> dict[str, object]:
    from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415
        Encoding,
        NoEncryption,
        PrivateFormat,
        load_pem_private_key,
        pkcs12,
    )

    if what is Locked.KEY:
        opened = load_pem_private_key(data, secret)
        text = opened.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        return {"certificates": [], "key": text, "name": None}
    found = pkcs12.load_pkcs12(data, secret)
    named = [one for one in (found.cert, *found.additional_certs) if one is not None]
    ders = [one.certificate.public_bytes(Encoding.DER) for one in named]
    name, key = None if found.cert is None else found.cert.friendly_name, found.key
    return {
        "certificates": [base64.b64encode(der).decode() for der in ders],
        "name": None if name is None else base64.b64encode(name).decode(),
        "key": None
        if key is None
        else key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
    }


def _limit() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file would hold the key
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))


def main() -> int:
    """Run as the child: `python -m renewctl.certificate.unlock key|p12`."""
    _limit()
    code, answer = child(Locked(sys.argv[1]), sys.stdin.buffer)
    sys.stdout.buffer.write(answer)
    return code


if __name__ == "__main__":
    sys.exit(main())
