"""Push certificates in files: read where they lie on this machine, and nothing else.

Files on other hosts are installed and read by the playbooks, over SSH.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from renewctl import localfile
from renewctl.certificate.pushcert import Pair
from renewctl.errors import NodeFault, Refused
from renewctl.inventory.fields import is_loopback
from renewctl.inventory.reading import Node, Place
from renewctl.observation import Failure, Observation, SeenFile, ServedCertificate, Source
from renewctl.reasons import Reason
from renewctl.servers.certificate_files import CertificateFolder, Read, is_push_certificate, read_file
from renewctl.servers.protocol import PushAnswer, PushTarget, failure_of

_SSH_PORT = "22"


@dataclass(frozen=True)
class Placed:
    """What the places of a node hold: one certificate where they agree, what hides it, and each file."""

    certificates: tuple[ServedCertificate, ...]
    failures: tuple[Failure, ...]
    files: tuple[SeenFile, ...] | None = None


class Files:
    """A node of product `files`: no API, so no push, no devices."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self._folder = None if node.folder is None else CertificateFolder(node.folder)
        self._looked: tuple[tuple[Read, ...], Placed] | None = None

    def observe(self, now: datetime, *, certificates_alone: bool = False) -> Observation:  # noqa: ARG002 - no more is here
        """The certificates in its files."""
        try:
            placed = self._in(self._folder) if self._folder else placed_certificates(self.node)
        except NodeFault as fault:
            placed = Placed((), (failure_of(fault.reason, fault.values),))
        return Observation(
            self.node.name,
            now,
            certificates=placed.certificates,
            failures=placed.failures,
            answered=() if placed.failures else (Source.FILE,),
            files=placed.files,
        )

    def _in(self, folder: CertificateFolder) -> Placed:
        """The very same value while nothing in the folder changed: with ten thousand files that counts."""
        try:
            reads = folder.look()
        except OSError as error:
            raise NodeFault(
                Reason.FOLDER_UNREADABLE, node=self.node.name, path=str(self.node.folder), got=error.strerror
            ) from None
        if self._looked is None or reads is not self._looked[0]:
            self._looked = reads, _of_folder(reads, self.node)
        return self._looked[1]

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


def placed_certificates(node: Node) -> Placed:
    """What the places of a node installed by files hold.

    Raises:
        NodeFault: `node_certificate_elsewhere`: the files are another host's, and files of that name here
            would be somebody else's.
    """
    if node.install is None or not _is_here(node):
        raise NodeFault(Reason.NODE_CERTIFICATE_ELSEWHERE, node=node.name, got=_address(node))
    found: dict[str | None, ServedCertificate] = {}
    failures = []
    files = []
    for place in node.install.places:
        told = _read(place)
        files.append(replace(told.seen, path=place.path))
        if told.served is None:
            failures.append(_failure(told, node.name))
        else:
            found[told.served.fingerprint] = told.served
    return Placed(tuple(found.values()), tuple(failures), tuple(files))


def _of_folder(reads: tuple[Read, ...], node: Node) -> Placed:
    failures = [_failure(read, node.name) for read in reads if read.seen.reason is not None]
    if not reads:  # a mount that was lost, a slip in its path, a clean-up: nobody watches nothing on purpose
        failures.append(Failure(Reason.FOLDER_EMPTY, {"node": node.name, "path": str(node.folder)}))
    return Placed(
        tuple(read.served for read in reads if read.served is not None and is_push_certificate(read.served)),
        tuple(failures),
        tuple(read.seen for read in reads),
    )


def _failure(read: Read, node: str) -> Failure:
    if read.seen.reason is Reason.NODE_CERTIFICATE_LOCKED:
        return Failure(read.seen.reason, {"node": node, "path": read.seen.path})
    values = {"node": node, "path": read.seen.path, "got": read.words}
    return Failure(Reason.NODE_CERTIFICATE_UNREADABLE, values)


def home_of(path: str) -> str:
    """Where the collection keeps the releases of the place that `path` names, on its node."""
    place = Path(path)
    return str(place.parent / ".renewctl" / place.name)


def _read(place: Place) -> Read:
    """The certificate of one place; a file with the key in it is not opened where one without lies beside it.

    PKCS#12 that a roll-out did not make is `node_certificate_locked`.
    """
    path = Path(place.path)
    if place.certificate is None and (beside := _beside(path)) is not None:
        return read_file(str(beside))
    if place.pkcs12 is not None and localfile.exists(path):
        return Read(SeenFile(place.path, reason=Reason.NODE_CERTIFICATE_LOCKED))
    return read_file(place.path)


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
    told = read_file(str(path))
    if told.served is None:
        failure = _failure(told, node)
        raise NodeFault(failure.reason, **failure.values)
    return told.served


def _address(node: Node) -> str:
    host, port = _host(node), _port(node)
    return host if port == _SSH_PORT else f"{host}:{port}"


def _host(node: Node) -> str:
    install = node.install
    if install is None:
        return "-"
    return str(install.variables.get("ansible_host", install.host or node.name))


def _port(node: Node) -> str:
    return _SSH_PORT if node.install is None else str(node.install.variables.get("ansible_port", _SSH_PORT))


def _is_here(node: Node) -> bool:
    """The loopback under another port than that of ssh is the end of a tunnel; our own name never is."""
    if node.install is not None and node.install.variables.get("ansible_connection") == "local":
        return True
    host, own = _host(node), os.uname().nodename
    return (is_loopback(host) and _port(node) == _SSH_PORT) or host in {own, own.partition(".")[0]}
