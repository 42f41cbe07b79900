"""Seal: a private key, encrypted to age recipients, written once under the name of its public half.

Sealing needs no secret and opening is elsewhere (`unseal`): who can add a key cannot read one. Two homes, one
protocol: a folder, or the table `keys` of a PostgreSQL store. `age -d -i IDENTITY` opens either without us.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import pyrage  # type: ignore[import-untyped]

from renewctl.certificate import private_key
from renewctl.database import sql, sql_url, sqlite_file
from renewctl.errors import Attention, NodeFault, Refused, RenewctlError, Unusable
from renewctl.inventory.reading import Keys
from renewctl.keys import agefile
from renewctl.reasons import Reason
from renewctl.store.read import instant_text

FOLDER_MODE, FILE_MODE, SHARED_FILE_MODE = 0o700, 0o600, 0o640

_NAME = re.compile(r"([0-9a-f]{64})\.age")
_PAUSES = (0.0, 0.2, 1.0)
_HEAD = 12  # enough of a recipient to find it in the inventory


class KeyHome(Protocol):
    """Where sealed keys are kept; a key's name is the SHA-256 (hex) of its SubjectPublicKeyInfo.

    Attributes:
        recipients: whom new keys are sealed to, without comments.
    """

    recipients: tuple[str, ...]

    def seal(self, key_pem: bytes) -> str:
        """Encrypt a key to every recipient and keep it; a name that is there already stays as it is.

        Returns:
            The name. The key is on disk when this returns.
        """

    def put(self, fingerprint: str, sealed: bytes) -> bool:
        """Keep a key that is sealed already (out of a backup); one of that name stays as it is.

        Returns:
            Whether it was not there before.
        """

    def has(self, fingerprint: str) -> bool:
        """Whether a key of this name is kept."""

    def names(self) -> list[str]:
        """The names of all keys, sorted."""

    def sealed(self, fingerprint: str) -> bytes:
        """The sealed key; `sealed_key_missing` where there is none."""

    def replace(self, fingerprint: str, old: bytes, new: bytes) -> None:
        """Put another sealing of the same key in the place of the one that was read; never neither.

        Whoever calls has proven that `new` opens.

        Raises:
            Attention: `key_changed_meanwhile`: what is kept is not `old` any more.
        """

    def destroy(self, fingerprint: str) -> None:
        """Take a key away; nothing where it is gone. Copies elsewhere (backups) are not reached."""


class KeyFolder:
    """Sealed keys as files `<name>.age`, 0600 in a folder of 0700.

    Args:
        path: the folder; made at the first key.
        recipients: age (`age1…`) or SSH (`ssh-ed25519 …`, `ssh-rsa …`) public keys.
        shared: several accounts use the folder through its group, which then reads the (sealed) files.

    Raises:
        Unusable: `recipient_invalid`, `recipient_is_identity`.
    """

    def __init__(self, path: Path, recipients: Sequence[str], *, shared: bool = False) -> None:
        self.path, self.recipients, self._shared = path, _plain(recipients), shared
        _parsed(recipients)

    def seal(self, key_pem: bytes) -> str:
        """See `KeyHome.seal`.

        Raises:
            Unusable: `recipients_none`; `private_key_…`: not an RSA key we can take.
            Refused: `keys_folder_open`: others may read the folder.
            NodeFault: `disk_full`, `keys_denied`.
        """
        name, content = sealed_to(self.recipients, key_pem)
        self.put(name, content)
        return name

    def put(self, fingerprint: str, sealed: bytes) -> bool:
        """See `KeyHome.put`.

        Raises:
            Refused, NodeFault: as `seal`.
        """
        with self._faults():
            sqlite_file.make_folder(self.path, FOLDER_MODE)
            self._require_closed()
            there = self._file(fingerprint).is_file()
            if not there:
                self._write(self._file(fingerprint), sealed)
            sqlite_file.sync_folder(self.path)
        return not there

    def has(self, fingerprint: str) -> bool:
        """See `KeyHome.has`."""
        with self._faults():
            return self._file(fingerprint).is_file()

    def names(self) -> list[str]:
        """See `KeyHome.names`."""
        with self._faults(), contextlib.suppress(FileNotFoundError):
            return sorted(m[1] for entry in self.path.iterdir() if (m := _NAME.fullmatch(entry.name)))
        return []

    def sealed(self, fingerprint: str) -> bytes:
        """See `KeyHome.sealed`."""
        with self._faults():
            try:
                with self._file(fingerprint).open("rb") as file:
                    return file.read(agefile.LARGEST_SEALED)  # what is cut off does not open
            except FileNotFoundError:
                raise _missing(fingerprint, str(self.path)) from None

    def replace(self, fingerprint: str, old: bytes, new: bytes) -> None:
        """See `KeyHome.replace`.

        Raises:
            NodeFault: `disk_full`, `keys_denied`; the old one is still there.
        """
        if self.sealed(fingerprint) != old:
            raise _changed(fingerprint, str(self.path))
        final = self._file(fingerprint)
        with self._faults():
            self._sweep(final)
            with self._beside(final, new) as beside:
                beside.replace(final)
            sqlite_file.sync_folder(self.path)

    def destroy(self, fingerprint: str) -> None:
        """See `KeyHome.destroy`.

        Raises:
            NodeFault: `keys_denied`.
        """
        with self._faults():
            self._sweep(self._file(fingerprint))
            self._file(fingerprint).unlink(missing_ok=True)
            sqlite_file.sync_folder(self.path)

    def _sweep(self, final: Path) -> None:
        """Remove what a killed writer of this key left beside it: it may open to people of yesterday."""
        for left in self.path.glob(f".{final.name}.*.new"):
            left.unlink(missing_ok=True)

    def _file(self, fingerprint: str) -> Path:
        return self.path / f"{fingerprint}.age"

    def _require_closed(self) -> None:
        mode = self.path.stat().st_mode & 0o777
        if mode & (0o007 if self._shared else 0o077):
            raise Refused(Reason.KEYS_FOLDER_OPEN, path=str(self.path), got=f"{mode:04o}", expected="0700")

    def _write(self, final: Path, content: bytes) -> None:
        """Beside, synced, then linked: the name appears whole, and never over another file."""
        with self._beside(final, content) as beside, contextlib.suppress(FileExistsError):
            os.link(beside, final)

    @contextlib.contextmanager
    def _beside(self, final: Path, content: bytes) -> Iterator[Path]:
        """A file under another name in the same folder, on disk; gone after the block."""
        beside = sqlite_file.name_beside(final)
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            with os.fdopen(os.open(beside, flags, FILE_MODE), "wb") as file:
                os.fchmod(file.fileno(), SHARED_FILE_MODE if self._shared else FILE_MODE)
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            yield beside
        finally:
            beside.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno in {errno.ENOSPC, errno.EDQUOT}:
                raise NodeFault(Reason.DISK_FULL, path=str(self.path)) from None
            detail = error.strerror or type(error).__name__
            raise NodeFault(Reason.KEYS_DENIED, path=str(self.path), detail=detail) from None


class KeyTable:
    """Sealed keys in the table `keys` of a PostgreSQL store.

    A role that may only INSERT can seal; the exporter's role has no grant on the table at all.

    Args:
        store_url: of the store.
        recipients: as for `KeyFolder`; none are needed to read.
    """

    def __init__(self, store_url: str, recipients: Sequence[str]) -> None:
        self.recipients = _plain(recipients)
        _parsed(recipients)
        self._database = sql.Database(store_url, read_only=False)

    def seal(self, key_pem: bytes) -> str:
        """See `KeyHome.seal`.

        Raises:
            Unusable: `recipients_none`; `private_key_…`: not an RSA key we can take.
            NodeFault: as the store.
        """
        name, content = sealed_to(self.recipients, key_pem)
        self.put(name, content)
        return name

    def put(self, fingerprint: str, sealed: bytes) -> bool:
        """See `KeyHome.put`.

        Raises:
            NodeFault: as the store.
        """
        at = instant_text(datetime.now(UTC))
        fault: RenewctlError | None = None
        for pause in _PAUSES:
            time.sleep(pause)
            try:
                with self._database.transaction() as transaction:
                    statement = "INSERT INTO keys (fingerprint, sealed, at) VALUES (:name, :sealed, :at)"
                    transaction.change(statement, name=fingerprint, sealed=sealed, at=at)
            except sql.Collision:
                return False  # kept before, or by ourselves with the answer lost
            except NodeFault as error:
                if error.reason is not Reason.STORE_UNREACHABLE:
                    raise
                fault = error
            else:
                return True
        raise fault or NodeFault(Reason.STORE_BUSY, store=self._database.shown)

    def has(self, fingerprint: str) -> bool:
        """See `KeyHome.has`."""
        statement = "SELECT fingerprint FROM keys WHERE fingerprint = :name"
        return bool(self._database.rows(statement, name=fingerprint))

    def names(self) -> list[str]:
        """See `KeyHome.names`."""
        rows = self._database.rows("SELECT fingerprint FROM keys")
        return sorted(str(row["fingerprint"]) for row in rows)

    def sealed(self, fingerprint: str) -> bytes:
        """See `KeyHome.sealed`."""
        rows = self._database.rows("SELECT sealed FROM keys WHERE fingerprint = :name", name=fingerprint)
        if not rows:
            raise _missing(fingerprint, self._database.shown)
        return bytes(rows[0]["sealed"])

    def replace(self, fingerprint: str, old: bytes, new: bytes) -> None:
        """See `KeyHome.replace`; one transaction.

        Raises:
            NodeFault: as the store; a role without UPDATE (sealed, at) on the table is refused.
        """
        statement = "UPDATE keys SET sealed = :new, at = :at WHERE fingerprint = :name AND sealed = :old"
        at = instant_text(datetime.now(UTC))
        with self._database.transaction() as transaction:
            if not transaction.change(statement, name=fingerprint, old=old, new=new, at=at):
                raise _changed(fingerprint, self._database.shown)

    def destroy(self, fingerprint: str) -> None:
        """See `KeyHome.destroy`.

        Raises:
            NodeFault: as the store; a role without DELETE on the table is refused.
        """
        with self._database.transaction() as transaction:
            transaction.change("DELETE FROM keys WHERE fingerprint = :name", name=fingerprint)


def home(keys: Keys, store_url: str) -> KeyHome:
    """The key store an inventory describes.

    Raises:
        Unusable: `keys_no_home` (neither a folder nor a PostgreSQL store), `keys_not_shared` (a folder of
            this host alone, beside a store that several hosts use), `recipient_…`.
    """
    shared_store = sql_url.is_postgresql(store_url)
    if keys.folder is None:
        if not shared_store:
            raise Unusable(Reason.KEYS_NO_HOME, store=sql_url.shown(store_url))
        return KeyTable(store_url, keys.recipients)
    if shared_store and not keys.shared:
        raise Unusable(Reason.KEYS_NOT_SHARED, path=str(keys.folder), store=sql_url.shown(store_url))
    return KeyFolder(keys.folder, keys.recipients, shared=keys.shared)


_Recipient = Any  # pyrage is untyped: x25519.Recipient | ssh.Recipient


def _parsed(recipients: Sequence[str]) -> list[_Recipient]:
    """All recipients; what is not one is told by its place and its first letters."""
    if len(recipients) > agefile.MOST_RECIPIENTS:
        raise Unusable(
            Reason.RECIPIENTS_TOO_MANY, got=len(recipients), expected=f"<= {agefile.MOST_RECIPIENTS}"
        )
    parsed = []
    for position, recipient in enumerate(recipients, start=1):
        text = recipient.strip()
        if "PRIVATE KEY" in text or text.upper().startswith("AGE-SECRET-KEY-"):
            raise Unusable(Reason.RECIPIENT_IS_IDENTITY, position=position)
        kind = pyrage.ssh.Recipient if text.startswith("ssh-") else pyrage.x25519.Recipient
        try:
            parsed.append(kind.from_str(text))
            agefile.expected([text])  # the library takes broken base64 that nobody else does
        except (pyrage.RecipientError, ValueError):
            got = f"{text[:_HEAD]}…" if text.startswith(("age1", "ssh-")) else "…"
            expected = "age1…, ssh-ed25519 …, ssh-rsa …"
            raise Unusable(Reason.RECIPIENT_INVALID, position=position, got=got, expected=expected) from None
    return parsed


def _plain(recipients: Sequence[str]) -> tuple[str, ...]:
    return tuple(agefile.plain(recipient) for recipient in recipients)


def sealed_to(recipients: Sequence[str], key_pem: bytes) -> tuple[str, bytes]:
    """A key's name, and the key sealed to these.

    Raises:
        Unusable: `recipients_none`, `recipient_…`; `private_key_…`: not an RSA key we can take.
    """
    if not recipients:
        raise Unusable(Reason.RECIPIENTS_NONE)
    pem = private_key.pkcs1(key_pem, "key")
    return private_key.fingerprint(pem, "key"), bytes(pyrage.encrypt(pem, _parsed(recipients)))


def _changed(fingerprint: str, where: str) -> Attention:
    return Attention(Reason.KEY_CHANGED_MEANWHILE, key=fingerprint, where=where)


def _missing(fingerprint: str, where: str) -> Refused:
    return Refused(Reason.SEALED_KEY_MISSING, fingerprint=fingerprint, where=where)
