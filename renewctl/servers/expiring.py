"""When things end that are no push certificates: from a file, or from whoever has them.

Of the answers, which may hold tokens and their secrets, nothing but the date goes any further.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from renewctl import localfile
from renewctl.certificate.pushcert import ends_of_validity
from renewctl.errors import NodeFault
from renewctl.inventory.reading import Expiring, ExpiryKind, Node, Product
from renewctl.reasons import Reason
from renewctl.servers import tls_peer
from renewctl.servers.certificate_files import LIMIT, reason_of

if TYPE_CHECKING:
    from renewctl.servers.transport import Answer

DATE_KEYS = ("access_token_expiry", "renew_date", "expDate", "expirationDate")
"""Where tokens have their date: NanoDEP, MicroMDM and Apple's token itself; Fleet; Apple's content token."""

_GET_CA = "operation=GetCACert"  # RFC 8894, 3.2
_OK = 200
_DEEPEST = 4
_TOKENS = frozenset({ExpiryKind.ADE_TOKEN, ExpiryKind.VPP_TOKEN})


def expiry_of(one: Expiring) -> datetime:
    """When it ends; the earliest date where there are several.

    Raises:
        NodeFault: `file_…` for what is wrong with a file, `node_…` for who was asked.
        Unusable: its password cannot be read.
    """
    if one.file is not None:
        content = _file(one.file)
    elif one.kind is ExpiryKind.TLS_CERTIFICATE:
        content = tls_peer.certificate_of(one.name, one.url or "")
    else:
        content = _asked(one)
    try:
        dates = token_dates(content) if one.kind in _TOKENS else ends_of_validity(content)
        return min(dates)
    except (ValueError, RecursionError):
        values = {"node": one.name, "path": str(one.file or one.url), "got": "-"}
        raise NodeFault(_unreadable(one, content), **values) from None


def token_dates(content: bytes) -> list[datetime]:
    """The dates in a token: JSON as a server tells it, or Apple's content token (base64 of JSON).

    Raises:
        ValueError: there is no date in it.
    """
    try:
        told = json.loads(content)
    except ValueError:
        try:
            told = json.loads(base64.b64decode(b"".join(content.split()), validate=True))
        except binascii.Error:
            raise ValueError("neither JSON nor base64") from None
    return [_instant(text) for text in _dates_in(told, _DEEPEST)]


def _dates_in(told: Any, deeper: int) -> Iterator[str]:  # noqa: ANN401 - JSON
    if isinstance(told, dict):
        yield from (value for key, value in told.items() if key in DATE_KEYS and isinstance(value, str))
    if isinstance(told, dict | list) and deeper:
        for value in told.values() if isinstance(told, dict) else told:
            yield from _dates_in(value, deeper - 1)


def _instant(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    try:
        return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
    except OverflowError:
        raise ValueError("before the first or after the last year there is") from None


def _file(path: Path) -> bytes:
    try:
        return localfile.read(path, LIMIT)
    except OSError as error:
        raise NodeFault(reason_of(error), node="-", path=str(path), got=error.strerror) from None


def _asked(one: Expiring) -> bytes:
    """The body of the answer; of any other answer the status alone is told, its text may hold anything."""
    answer = _ask(one)
    if answer.status != _OK:
        raise NodeFault(answer.fault().reason, node=one.name, got=str(answer.status))
    return answer.body


def _ask(one: Expiring) -> Answer:
    from renewctl import secrets  # noqa: PLC0415
    from renewctl.servers.transport import Credential, Transport  # noqa: PLC0415 - HTTP, only where used

    parts = urlsplit(one.url or "")
    path = parts.path or "/"
    query = _GET_CA if one.kind is ExpiryKind.SCEP_CA and not parts.query else parts.query
    asked = Node(
        one.name,
        Product.FILES,
        (),
        one.name,
        url=f"{parts.scheme}://{parts.netloc}",
        ca_file=one.ca_file,
        insecure_http=one.insecure_http,
    )
    credential = None if one.password is None else Credential(one.user, secrets.read(one.password))
    return Transport(asked).ask("GET", f"{path}?{query}" if query else path, credential=credential)


def _unreadable(one: Expiring, content: bytes) -> Reason:
    if one.file is None:
        return Reason.NODE_ANSWER_UNREADABLE
    if not content.strip():
        return Reason.FILE_EMPTY
    if b"pkcs7-mime" in content[:2000]:
        return Reason.FILE_IS_ENCRYPTED_MESSAGE
    if b"-----BEGIN CERTIFICATE-----" in content:
        return Reason.CERTIFICATE_UNREADABLE
    return Reason.FILE_NOT_RECOGNISED
