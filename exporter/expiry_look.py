"""One look at one thing that expires beside push certificates. Failure is data."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from urllib.parse import urlsplit

from exporter.poller import Change
from exporter.secrets_allowed import by_command
from exporter.snapshot import ExpiryFacts, Snapshot, not_later
from renewctl.errors import RenewctlError
from renewctl.inventory.reading import Expiring, ExpiryKind, Inventory
from renewctl.reasons import Reason

log = logging.getLogger("exporter")

_ASKED_SECONDS = 300.0
"""Between two looks at somebody else's server: dates that change once a year."""


class ExpiryLook:
    """Reads one date, with no more rights than an exporter may have."""

    def __init__(self, one: Expiring) -> None:
        self._one = one if one.allow_api_credential else replace(one, user="", password=None)
        self.question = one
        self._key = key_of(one)
        self.least_seconds = 0.0 if one.file is not None else _ASKED_SECONDS

    def look(self) -> Change:
        """Read; while that fails the last date stays."""
        now = datetime.now(UTC)
        try:
            facts = ExpiryFacts(self._read(), None, now)
        except RenewctlError as error:
            log.debug("%s: %s", self._key, error.reason)
            return self._failing(error.reason)
        except Exception as error:  # noqa: BLE001 - stays with this one thing
            # The type alone: what an answer holds may be a secret.
            log.error("%s: unexpected %s", self._key, type(error).__name__)  # noqa: TRY400
            return self._failing(Reason.INTERNAL)
        return lambda snapshot: self._publish(snapshot, facts)

    def overdue(self) -> Change:
        """No answer; the last date stays."""
        return self._failing(Reason.NODE_TIMEOUT)

    def silent(self, snapshot: Snapshot) -> bool:
        """The last look told nothing."""
        return snapshot.expiries.get(self._key, ExpiryFacts()).reason is not None

    def _read(self) -> datetime:
        from renewctl.servers.expiring import expiry_of  # noqa: PLC0415 - only where something is named

        if by_command(self._one.password):
            raise RenewctlError(Reason.SECRET_COMMAND_NOT_ALLOWED)
        return expiry_of(self._one)

    def _failing(self, reason: Reason) -> Change:
        now = datetime.now(UTC)

        def change(snapshot: Snapshot) -> Snapshot:
            before = snapshot.expiries.get(self._key, ExpiryFacts())
            last = not_later(before.last_success, now)
            return self._publish(snapshot, replace(before, reason=reason, last_success=last))

        return change

    def _publish(self, snapshot: Snapshot, facts: ExpiryFacts) -> Snapshot:
        before = snapshot.expiries.get(self._key)
        if before is None or before.reason != facts.reason:
            level = logging.INFO if facts.reason is None else logging.WARNING
            log.log(level, "expiry of %s: %s", " ".join(filter(None, self._key)), facts.reason or "read")
        return replace(snapshot, expiries={**snapshot.expiries, self._key: facts})


def key_of(one: Expiring) -> tuple[str, str, str]:
    """Its labels: kind, name, node."""
    return one.kind, one.name, one.node


def expiring(inventory: Inventory) -> tuple[Expiring, ...]:
    """What `expires` names, and what the rest of the inventory tells of: each once."""
    found: dict[tuple[str, str, str], Expiring] = {}
    for one in (*inventory.expires, *_of_vendors(inventory), *_of_nodes(inventory)):
        found.setdefault(key_of(one), one)
    return tuple(found.values())


def _of_vendors(inventory: Inventory) -> Iterator[Expiring]:
    """Vendor certificates, and the intermediate above each: the first file of its chain."""
    for vendor in dict.fromkeys((inventory.vendor, *(topic.vendor for topic in inventory.topics))):
        if vendor is not None:
            kind = ExpiryKind.VENDOR_CERTIFICATE
            yield Expiring(kind, str(vendor.certificate), file=vendor.certificate)
            for path in vendor.chain[:1]:
                yield Expiring(ExpiryKind.WWDR_INTERMEDIATE, str(path), file=path)


def _of_nodes(inventory: Inventory) -> Iterator[Expiring]:
    """The TLS certificate of each node that is reached over https."""
    for node in inventory.nodes:
        parts = urlsplit(node.url or "")
        if parts.scheme == "https":
            yield Expiring(ExpiryKind.TLS_CERTIFICATE, parts.netloc, node.name, url=node.url)
