"""A push certificate in files: read where they lie on this machine, and nothing else.

Files on other hosts are installed and read by the playbooks, over SSH.
"""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

from renewctl.certificate.pushcert import Pair, PushCertificate
from renewctl.errors import NodeFault, Refused
from renewctl.inventory.fields import is_loopback
from renewctl.inventory.reading import Node, Place
from renewctl.observation import Failure, Observation, ServedCertificate, Source
from renewctl.reasons import Reason
from renewctl.servers import localfile
from renewctl.servers.protocol import PushAnswer, PushTarget, failure_of


class Files:
    """A node of product `files`: no API, so no push, no devices."""

    def __init__(self, node: Node) -> None:
        self.node = node

    def observe(self, now: datetime) -> Observation:
        """The certificate in its files."""
        try:
            certificates, failures = placed_certificates(self.node)
        except NodeFault as fault:
            certificates, failures = (), (failure_of(fault.reason, fault.values),)
        return Observation(
            self.node.name,
            now,
            certificates=certificates,
            failures=failures,
            answered=() if failures else (Source.FILE,),
        )

    def install(self, pair: Pair) -> None:
        """Not this way: files are installed by the playbooks.

        Raises:
            Refused: `node_takes_no_pair`, always.
        """
        raise Refused(Reason.NODE_TAKES_NO_PAIR, node=self.node.name, topic=pair.certificate.topic)

    def require_access(self) -> None:
        """Files have no API; whoever reaches the host may read them or not, which the look tells."""

    def push(self, enrollment: str) -> PushAnswer:
        """Files cannot push."""
        return PushAnswer(accepted=None, reason=Reason.PUSH_NOT_POSSIBLE, detail=enrollment)

    def canaries(self, topic: str, limit: int) -> tuple[str, ...]:  # noqa: ARG002 - the protocol's signature
        """Files know no devices."""
        return ()

    def check_in(self, enrollment: str) -> str | None:  # noqa: ARG002 - the protocol's signature
        """Files know no devices."""
        return None

    def push_target(self, enrollment: str) -> PushTarget | None:  # noqa: ARG002 - the protocol's signature
        """Files know no devices."""
        return None

    def enrolled_topics(self) -> dict[str, int] | None:
        """Files know no devices."""
        return None


def placed_certificates(node: Node) -> tuple[tuple[ServedCertificate, ...], tuple[Failure, ...]]:
    """What the places of a node installed by files hold: one certificate where they agree; and what hides it.

    Raises:
        NodeFault: `node_certificate_elsewhere`: the files are another host's, and files of that name here
            would be somebody else's.
    """
    if node.install is None or not _is_here(node):
        raise NodeFault(Reason.NODE_CERTIFICATE_ELSEWHERE, node=node.name, got=_address(node))
    found: dict[str | None, ServedCertificate] = {}
    failures = []
    for place in node.install.places:
        try:
            certificate = _read(place, node.name)
        except NodeFault as fault:
            failures.append(failure_of(fault.reason, fault.values))
        else:
            found[certificate.fingerprint] = certificate
    return tuple(found.values()), tuple(failures)


def home_of(path: str) -> str:
    """Where the collection keeps the releases of the place that `path` names, on its node."""
    place = Path(path)
    return str(place.parent / ".renewctl" / place.name)


def _read(place: Place, node: str) -> ServedCertificate:
    """The certificate of one place; a file with the key in it is not opened where one without lies beside it.

    Raises:
        NodeFault: `node_certificate_locked`: PKCS#12 a roll-out did not make; or as `read_certificate`.
    """
    path = Path(place.path)
    if place.certificate is None and (beside := _beside(path)) is not None:
        return read_certificate(beside, node)
    if place.pkcs12 is not None and localfile.exists(path):
        raise NodeFault(Reason.NODE_CERTIFICATE_LOCKED, node=node, path=place.path)
    return read_certificate(path, node)


def _beside(path: Path) -> Path | None:
    """The certificate alone, which a roll-out leaves beside the file with the key; None: it was not ours."""
    current = Path(home_of(str(path))) / "current"
    try:
        target = Path(os.path.normpath(path.parent / path.readlink()))
    except OSError:
        return None
    beside = current / "cert.pem"
    return beside if target.parent == current and localfile.exists(beside) else None


def read_certificate(path: Path, node: str) -> ServedCertificate:
    """The certificate in a PEM or DER file.

    Raises:
        NodeFault: `node_certificate_unreadable`.
    """
    try:
        content = localfile.read(path)
        certificate = (
            PushCertificate.from_pem(content)
            if b"-----BEGIN" in content
            else PushCertificate.from_der(content)
        )
    except (OSError, ValueError) as error:
        got = error.strerror if isinstance(error, OSError) else "no certificate in it"
        raise NodeFault(Reason.NODE_CERTIFICATE_UNREADABLE, node=node, path=str(path), got=got) from None
    return served(certificate, Source.FILE)


def served(certificate: PushCertificate, source: Source) -> ServedCertificate:
    """A whole certificate as what a node serves."""
    return ServedCertificate(
        topic=certificate.topic or "",
        not_after=certificate.not_after,
        source=source,
        serial=certificate.serial,
        fingerprint=certificate.fingerprint,
        key_fingerprint=certificate.key_fingerprint,
        issuer=certificate.issuer,
    )


def _address(node: Node) -> str:
    install = node.install
    if install is None:
        return "-"
    return str(install.variables.get("ansible_host", install.host or node.name))


def _is_here(node: Node) -> bool:
    if node.install is not None and node.install.variables.get("ansible_connection") == "local":
        return True
    address = _address(node)
    own = os.uname().nodename
    return is_loopback(address) or address in {own, own.partition(".")[0]}
