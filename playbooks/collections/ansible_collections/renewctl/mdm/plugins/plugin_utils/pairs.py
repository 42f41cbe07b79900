# Copyright: renewctl contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A pair by reference: the certificate is read at once, the key only when it is needed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from renewctl import localfile, secrets
from renewctl.certificate import private_key
from renewctl.certificate.pushcert import Pair, PushCertificate
from renewctl.errors import Refused, Unusable
from renewctl.inventory import reading as inventory
from renewctl.keys import agefile, unseal
from renewctl.reasons import Reason


@dataclass(frozen=True)
class PairReference:
    """Where a pair is.

    Attributes:
        certificate: the certificate itself; it is public.
        key: `{file}`, `{sealed, identity}` or `{table, fingerprint, identity}`.
        base: the folder relative paths are meant from.
    """

    certificate: PushCertificate
    key: Mapping[str, Any] | None
    base: Path

    @classmethod
    def from_mapping(cls, value: Mapping[str, Any] | None, base: Path) -> PairReference | None:
        """Read the certificate; None stays None.

        Raises:
            Unusable: no such file, or not a certificate.
        """
        if not value:
            return None
        path = base / str(value.get("certificate") or "")
        try:
            certificate = PushCertificate.from_pem(localfile.read(path))
        except OSError:
            raise Unusable(Reason.FILE_UNREADABLE, path=str(path)) from None
        except ValueError:
            raise Unusable(Reason.CERTIFICATE_UNREADABLE, path=str(path)) from None
        key = value.get("key")
        if key is not None and not isinstance(key, Mapping):  # a key or a path where a reference belongs
            raise Unusable(Reason.PAIR_INCOMPLETE, got=f"key: {type(key).__name__}")
        return cls(certificate, key, base)

    def of_topic(self, topic: str) -> PairReference:
        """This pair, if it is the topic's: a valid certificate with another UID silences every device.

        Raises:
            Refused: `topic_differs`.
        """
        if self.certificate.topic != topic:
            raise Refused(
                Reason.TOPIC_DIFFERS, got=self.certificate.topic or "-", expected=topic, topic=topic
            )
        return self

    def open(self) -> Pair:
        """Open the key.

        Raises:
            Unusable, Refused: no key named, not readable, or not this certificate's.
        """
        key = self._key()
        found = private_key.fingerprint(key, "renewctl_pair.key")
        if found != self.certificate.key_fingerprint:
            raise Refused(Reason.PAIR_MISMATCHED, got=found, expected=self.certificate.key_fingerprint)
        return Pair(self.certificate, key)

    def _key(self) -> bytes:
        where = self.key or {}
        if "file" in where:
            return unseal.load_plain_key(self.base / str(where["file"]))
        identity = where.get("identity")
        if identity is None or not ("sealed" in where or "table" in where):
            raise Unusable(Reason.PAIR_INCOMPLETE, got=", ".join(sorted(where)) or "-")
        reference = inventory.secret_from_value(identity, "renewctl_pair.key.identity", self.base)
        return unseal.open_key(self._sealed(where), reference)

    def _sealed(self, where: Mapping[str, Any]) -> bytes:
        if "sealed" in where:
            path = self.base / str(where["sealed"])
            try:
                return localfile.read(path, agefile.LARGEST_SEALED)
            except OSError:
                raise Unusable(Reason.FILE_UNREADABLE, path=str(path)) from None
        from renewctl.keys import keystore  # noqa: PLC0415 - SQLAlchemy, only where a table is used

        table = where["table"]
        if not isinstance(table, str):
            table = secrets.read(inventory.secret_from_value(table, "renewctl_pair.key.table", self.base))
        sealed: bytes = keystore.KeyTable(table, ()).sealed(str(where.get("fingerprint")))
        return sealed
