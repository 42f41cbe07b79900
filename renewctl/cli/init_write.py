"""What `init` writes to disk: all of it, or nothing."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from renewctl.cli.context import store_url
from renewctl.cli.faults import of_system
from renewctl.errors import Refused, Unusable
from renewctl.inventory.reading import Inventory
from renewctl.reasons import Reason

_SQLITE = "sqlite:///"


@dataclass(frozen=True)
class IdentityAnswer:
    """The identity of the key store, there already or to be made.

    Attributes:
        path: None where only recipients were given.
        text: of a new identity; None where there is one already.
    """

    path: Path | None
    recipients: tuple[str, ...]
    text: str | None = None


@dataclass(frozen=True)
class Homes:
    """Whether each is there.

    Attributes:
        keys_folder: None where the keys are in the store.
        identity: None where there is none to be made or used.
    """

    store: bool
    keys_folder: bool | None
    identity: bool | None


def identity_answer(path: Path | None, recipients: tuple[str, ...]) -> IdentityAnswer:
    """The identity named, else the operator's own; a new one where neither it nor a recipient is there.

    Raises:
        Unusable: `identity_without_recipient`.
    """
    from renewctl.keys.unseal import new_identity  # noqa: PLC0415 - age

    if recipients:
        return IdentityAnswer(path, recipients)
    path = path or Path.home() / ".config" / "renewctl" / "identity.txt"
    if path.exists():
        content = path.read_text(encoding="utf-8", errors="replace")
        named = re.search(r"^# public key: (age1\w+)$", content, re.MULTILINE)
        if named is None:
            raise Unusable(Reason.IDENTITY_WITHOUT_RECIPIENT, path=str(path), option="--recipient")
        return IdentityAnswer(path, (named[1],))
    text, recipient = new_identity()
    return IdentityAnswer(path, (recipient,), text)


def homes(planned: Inventory, identity: IdentityAnswer | None = None) -> Homes:
    """Which homes are there now.

    Args:
        planned: the inventory.
        identity: as `identity_answer` chose it; None where there is nothing to choose.

    Raises:
        Unusable, NodeFault: as the store raises where it cannot be looked at.
    """
    from renewctl.store.read import StoreReader  # noqa: PLC0415 - SQL

    keys = None if planned.keys.folder is None else planned.keys.folder.is_dir()
    opens = None if identity is None else _is_there(identity)
    try:
        with StoreReader(store_url(planned), recover=True) as store:
            store.renewals()
    except Unusable as error:
        if error.reason is not Reason.STORE_MISSING:
            raise
        return Homes(store=False, keys_folder=keys, identity=opens)
    return Homes(store=True, keys_folder=keys, identity=opens)


def _is_there(identity: IdentityAnswer) -> bool | None:
    if identity.text is not None:
        return False
    return True if identity.path is not None and identity.path.exists() else None


def make_homes(planned: Inventory) -> None:
    """Create what is not there yet; what is there stays as it is."""
    from renewctl.store.write import Store  # noqa: PLC0415 - SQL

    if planned.keys.folder is not None:
        planned.keys.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    Store.create(store_url(planned))


def write(path: Path, text: str, planned: Inventory, identity: IdentityAnswer) -> None:
    """The inventory comes last: it is there once everything it names is there.

    Raises:
        Refused: `inventory_exists`, or what the system said; nothing is left behind.
    """
    with _beside(path, text) as draft, _undone(planned, identity):
        if identity.text is not None and identity.path is not None:
            identity.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _write_whole(identity.path, identity.text)
        make_homes(planned)
        os.link(draft, path)  # fails where somebody else was quicker; a rename would not


@contextmanager
def _undone(planned: Inventory, identity: IdentityAnswer) -> Iterator[None]:
    """Take back what was made where the rest fails; a store somebody quicker shares stays."""
    url = store_url(planned)
    store = Path(url.removeprefix(_SQLITE)) if url.startswith(_SQLITE) else None
    new_store = store if store is not None and not store.exists() else None
    new_identity = identity.path if identity.text is not None else None
    if new_identity is not None and new_identity.exists():
        new_identity = None  # somebody made one since it was looked for
    named = [planned.keys.folder, store and store.parent, new_identity and new_identity.parent]
    folders = [folder for name in named if name is not None for folder in _absent(name)]
    try:
        yield
    except BaseException as error:
        files = [new_identity, None if isinstance(error, FileExistsError) else new_store]
        for file in files:
            if file is not None:
                with suppress(OSError):
                    file.unlink()
        for folder in sorted(folders, key=lambda each: len(each.parts), reverse=True):
            with suppress(OSError):  # not empty: somebody else is at work there
                folder.rmdir()
        raise


def _absent(folder: Path) -> list[Path]:
    """The folder and those above it that are not there."""
    folder = folder.absolute()
    return [each for each in (folder, *folder.parents) if not each.exists()]


@contextmanager
def _beside(path: Path, text: str) -> Iterator[Path]:
    draft = _name_beside(path)
    try:
        _write_new(draft, text, 0o644)
        yield draft
    except FileExistsError as error:
        raise Refused(Reason.INVENTORY_EXISTS, path=str(path)) from error
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)


def _write_whole(path: Path, text: str) -> None:
    """An identity under its name: whole, or not there. A torn one would stand in the way of the next `init`.

    Raises:
        Refused: what the system said.
        FileExistsError: it is there.
    """
    draft = _name_beside(path)
    try:
        _write_new(draft, text, 0o600)
        os.link(draft, path)
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)


def _name_beside(path: Path) -> Path:
    """A name of this call alone: in a container a killed command had the same process id as the next."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.new")


def _write_new(path: Path, text: str, mode: int) -> None:
    """A new file, whole and on disk, or none.

    Raises:
        Refused: what the system said.
        FileExistsError: it is there.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        try:
            with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123 - a descriptor
                file.write(text)
                file.flush()
                os.fsync(descriptor)
        except BaseException:
            path.unlink()
            raise
    except FileExistsError:
        raise
    except OSError as error:
        raise of_system(error, path) from error
