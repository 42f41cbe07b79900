"""`inspect FILE`: what a file is, in words; refuses nothing that can be explained."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from renewctl import messages
from renewctl.cli.context import Session
from renewctl.cli.options import PATH, Command, common_options, json_option, pass_session, passphrase_option
from renewctl.errors import ExitCode, RenewctlError, Unusable
from renewctl.reasons import Reason

if TYPE_CHECKING:
    from renewctl.certificate.intake import Intake
    from renewctl.certificate.pushcert import PushCertificate
    from renewctl.cli.output import Output
    from renewctl.inventory.reading import Topic
    from renewctl.renewal.rules import Renewal


@dataclass(frozen=True)
class Known:
    """What the inventory and the store know, where there are any.

    Attributes:
        topics: UID -> topic of the inventory.
        renewals: the open renewal of each topic that has one.
    """

    topics: dict[str, Topic]
    renewals: tuple[Renewal, ...]

    def keyed(self, fingerprint: str | None) -> Renewal | None:
        """The open renewal whose key this is."""
        found = [each for each in self.renewals if fingerprint and each.key_fingerprint == fingerprint]
        return found[0] if found else None

    def requests(self, content: bytes) -> list[Renewal]:
        """The open renewal whose file for the portal this is, byte for byte."""
        document = hashlib.sha256(content).hexdigest()
        return [each for each in self.renewals if each.request and each.request.document == document]


@click.command(cls=Command, help="help.inspect")
@click.argument("file", type=PATH)
@passphrase_option
@json_option
@common_options
@pass_session
def inspect(session: Session, file: Path) -> ExitCode:
    """Say what a file holds; exit 2 where nothing can be made of it."""
    from renewctl.certificate import intake  # noqa: PLC0415 - cryptography

    topics = _topics(session)  # first: what is wrong with the file is said in the topic's language
    found = intake.read(file, session.passphrase)
    known, output = _known(session, topics), session.output()
    explained = _explained(output, found)
    output.json(_as_json(session, found, known) | {"explanation": explained})
    output.show("inspect.what", path=found.path, what=output.text(f"intake.what.{found.what}"))
    for note in found.notes:
        output.show("inspect.note", note=output.text(f"intake.note.{note}"))
    if explained is not None:
        output.raw(explained["message"])
        output.raw(f"  {output.text('label.hint')}: {explained['hint']}")
    for certificate in found.certificates:
        _show_certificate(session, certificate, known)
    for renewal in known.requests(intake.read_bytes(file)):
        last_day = renewal.request.last_day if renewal.request is not None else None
        at_home = session.output(known.topics.get(renewal.topic))
        at_home.show("inspect.request_of", renewal=renewal.name, last_day=last_day)
    for label, fingerprint in _keys(found):
        _show_key(output, label, known.keyed(fingerprint), fingerprint)
    return ExitCode.DONE


def _topics(session: Session) -> dict[str, Topic]:
    """The inventory's topics by UID; none where there is no inventory."""
    if session.inventory_option is None and not session.inventory_path.exists():
        return {}
    return {topic.topic: topic for topic in session.inventory.topics}


def _explained(output: Output, found: Intake) -> dict[str, str] | None:
    """What `accept` says of a file that is nobody's aim; None of what may well be wanted."""
    from renewctl.certificate.intake import NOT_A_CERTIFICATE  # noqa: PLC0415 - cryptography
    from renewctl.certificate.recognise import What  # noqa: PLC0415

    if found.what not in {What.WEB_PAGE, What.ENCRYPTED_MESSAGE}:
        return None
    reason = NOT_A_CERTIFICATE[found.what]
    message, hint = output.sentence(reason, {"path": found.path, "title": found.title})
    return {"reason": reason.value, "message": message, "hint": hint}


def _known(session: Session, topics: dict[str, Topic]) -> Known:
    """These topics, and the store's open renewals."""
    if not topics:
        return Known({}, ())
    from renewctl.renewal.history import histories  # noqa: PLC0415
    from renewctl.store.read import StoreReader  # noqa: PLC0415 - SQL

    try:
        with StoreReader(session.store_url, recover=True) as store:
            past = histories(store.renewals())
    except RenewctlError as error:
        if not (isinstance(error, Unusable) and error.reason is Reason.STORE_MISSING):
            happened, _ = session.output().sentence(error.reason, error.values)
            session.output().say("inspect.store_silent", reason=happened)
        return Known(topics, ())
    return Known(topics, tuple(each.open for each in past.values() if each.open is not None))


def _show_certificate(session: Session, certificate: PushCertificate, known: Known) -> None:
    from renewctl.certificate.pushcert import days_left  # noqa: PLC0415 - cryptography

    topic = known.topics.get(certificate.topic or "")
    output = session.output(topic)
    kind = "push" if certificate.push else "other"
    output.show(f"inspect.certificate.{kind}", name=certificate.common_name, issuer=certificate.issuer)
    output.show("inspect.topic", topic=certificate.topic)
    if topic is not None:
        output.show("inspect.topic_known", name=topic.name, id=topic.id)
    elif known.topics and certificate.push:
        output.show_red("inspect.topic_foreign")
    output.show("inspect.serial", serial=certificate.serial)
    output.show("inspect.fingerprint", fingerprint=certificate.fingerprint)
    left = messages.days(days_left(certificate.not_after, session.now()), output.language)
    output.show(
        "inspect.validity", not_before=certificate.not_before, not_after=certificate.not_after, left=left
    )
    if certificate.push:
        _show_key(
            output,
            "inspect.key.certificate",
            known.keyed(certificate.key_fingerprint),
            certificate.key_fingerprint,
        )


def _show_key(output: Output, label: str, renewal: Renewal | None, fingerprint: str | None) -> None:
    output.show(label, fingerprint=fingerprint)
    if renewal is not None:
        output.show("inspect.key.renewal", renewal=renewal.name)


def _keys(found: Intake) -> list[tuple[str, str | None]]:
    """Key of the CSR and private key in the file, by their public half's fingerprint."""
    from renewctl.certificate.private_key import fingerprint  # noqa: PLC0415 - cryptography

    keys: list[tuple[str, str | None]] = []
    if found.csr is not None:
        keys.append(("inspect.key.csr", _csr_key(found.csr)))
    if found.key is not None:
        keys.append(("inspect.key.private", fingerprint(found.key, "key")))
    return keys


def _csr_key(csr: bytes) -> str | None:
    """None where its key is of a kind nobody here knows."""
    from cryptography import x509  # noqa: PLC0415 - heavy
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat  # noqa: PLC0415

    from renewctl.certificate.pushcert import spki_fingerprint  # noqa: PLC0415

    try:
        public = x509.load_pem_x509_csr(csr).public_key()
    except (ValueError, UnsupportedAlgorithm):
        return None
    return spki_fingerprint(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def _as_json(session: Session, found: Intake, known: Known) -> dict[str, object]:
    keys = dict(_keys(found))
    return {
        "path": found.path,
        "what": found.what,
        "title": found.title,
        "notes": found.notes,
        "certificates": [_certificate_json(session, each, known) for each in found.certificates],
        "csr_key_fingerprint": keys.get("inspect.key.csr"),
        "key_fingerprint": keys.get("inspect.key.private"),
        "renewals": [renewal.name for each in keys.values() if (renewal := known.keyed(each)) is not None],
    }


def _certificate_json(session: Session, certificate: PushCertificate, known: Known) -> dict[str, object]:
    from renewctl.certificate.pushcert import days_left  # noqa: PLC0415 - cryptography

    topic, renewal = known.topics.get(certificate.topic or ""), known.keyed(certificate.key_fingerprint)
    return {
        "topic": certificate.topic,
        "topic_id": None if topic is None else topic.id,
        "common_name": certificate.common_name,
        "issuer": certificate.issuer,
        "serial": certificate.serial,
        "fingerprint": certificate.fingerprint,
        "key_fingerprint": certificate.key_fingerprint,
        "not_before": certificate.not_before,
        "not_after": certificate.not_after,
        "days_left": days_left(certificate.not_after, session.now()),
        "client_auth": certificate.client_auth,
        "push": certificate.push,
        "renewal": None if renewal is None else renewal.name,
    }
