"""Which secrets an exporter may fetch."""

from __future__ import annotations

from renewctl.secrets import Kind, SecretRef


def by_command(secret: SecretRef | str | None) -> bool:
    """Whether getting this secret would mean running a program."""
    return isinstance(secret, SecretRef) and secret.kind is Kind.COMMAND
