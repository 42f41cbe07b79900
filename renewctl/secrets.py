"""A secret is a reference; it is read late, once a process, and never printed or logged.

References: `{file: PATH}`, `{env: NAME}`, `{command: [PROGRAM, ARG, …]}`, `{credential: NAME}`
(systemd's `$CREDENTIALS_DIRECTORY`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """Where a secret is to be read."""

    FILE = "file"
    ENV = "env"
    COMMAND = "command"
    CREDENTIAL = "credential"


@dataclass(frozen=True)
class SecretRef:
    """Where a secret is, never what it is.

    Attributes:
        kind: which of the four.
        where: a path, a variable's name, a program with arguments, or a credential's name.
    """

    kind: Kind
    where: tuple[str, ...]
