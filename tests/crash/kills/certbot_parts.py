"""What the lineage of `certbot_child` is made of; shared by both interpreters."""

from __future__ import annotations


def parts(version: int) -> tuple[bytes, bytes, bytes]:
    """Certificate, key and chain of a version, big enough to be seen torn."""
    certificate, key, chain = (f"{kind} {version}\n".encode() * 200 for kind in ("cert", "privkey", "chain"))
    return certificate, key, chain
