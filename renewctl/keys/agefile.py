"""What an age file's header tells of whom it is sealed to. Pure.

An X25519 recipient leaves one share that nobody else can tell from any other (age's specification: recipients
stay anonymous), so these can only be counted. An SSH recipient leaves the first four bytes of a SHA-256 over
its public key, so it can be told from those at hand.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

_FIRST = b"age-encryption.org/v1"
_ARMOR = b"-----BEGIN AGE ENCRYPTED FILE-----"
_LONGEST_HEADER = 256 * 1024  # 200 recipients whose SSH keys are RSA of 4096 bits take 180 kB
_TAG_BYTES = 4

MOST_RECIPIENTS = 200
"""To open one file the library works with the square of their number: a third of a second for so many."""

LARGEST_SEALED = 512 * 1024
"""Bytes of a sealed key: its header, and a key of a few thousand bytes."""
_SSH = (["ssh-ed25519"], ["ssh-rsa"])


@dataclass(frozen=True)
class Header:
    """Whom a file is sealed to, as far as it tells.

    Attributes:
        x25519: how many `age1…` recipients.
        ssh: tags of the SSH recipients, sorted (`ssh_tag`).
    """

    x25519: int
    ssh: tuple[str, ...]


def plain(recipient: str) -> str:
    """A recipient without the comment after an SSH key: what two texts of one recipient share."""
    words = recipient.split()
    return " ".join(words[:2]) if words and words[0].startswith("ssh-") else recipient.strip()


def expected(recipients: Sequence[str]) -> Header:
    """The header of a file sealed to these."""
    ssh = [recipient for recipient in recipients if recipient.startswith("ssh-")]
    return Header(len(recipients) - len(ssh), tuple(sorted(ssh_tag(one) for one in ssh)))


def ssh_tag(recipient: str) -> str:
    """What a file says of an SSH recipient.

    Args:
        recipient: `ssh-ed25519 AAAA…` or `ssh-rsa AAAA…`.
    """
    digest = hashlib.sha256(base64.b64decode(recipient.split()[1])).digest()
    return base64.b64encode(digest[:_TAG_BYTES]).decode().rstrip("=")


def header(sealed: bytes) -> Header:
    """Read a header, of a binary or an armored file.

    Raises:
        ValueError: not an age file, or one for more than `MOST_RECIPIENTS`.
    """
    first, *lines = _binary(sealed.lstrip()).split(b"\n")
    if first != _FIRST or not any(line.startswith(b"---") for line in lines):
        raise ValueError("not an age file")
    stanzas: list[list[str]] = []
    for line in lines:
        if line.startswith(b"---"):
            break
        if line.startswith(b"-> "):  # other lines are a stanza's body
            stanzas.append(line.decode("ascii", "replace").split()[1:])
    if len(stanzas) > MOST_RECIPIENTS:
        raise ValueError("too many recipients")
    ssh = [words[1] for words in stanzas if words[:1] in _SSH and len(words) > 1]
    return Header(sum(words[:1] == ["X25519"] for words in stanzas), tuple(sorted(ssh)))


def _binary(sealed: bytes) -> bytes:
    if not sealed.startswith(_ARMOR):
        return sealed[:_LONGEST_HEADER]
    body = sealed[len(_ARMOR) :].partition(b"-----END")[0][:_LONGEST_HEADER]
    whole = b"".join(body.split())
    try:
        return base64.b64decode(whole[: len(whole) // 4 * 4])
    except binascii.Error as error:
        raise ValueError("not base64") from error
