"""Who may do what with the table of keys, on a real PostgreSQL."""

from __future__ import annotations

from pathlib import Path

import pytest

from renewctl.errors import NodeFault
from renewctl.keys.keystore import KeyTable
from renewctl.reasons import Reason
from renewctl.store.write import Store
from tests.support.identities import Identity, new_key, pem
from tests.support.postgres import Database

pytestmark = pytest.mark.slow


def test_only_the_keepers_role_may_replace_or_destroy(database: Database, tmp_path: Path) -> None:
    """The grants of the README: an operator's role can neither; with UPDATE (sealed, at) and DELETE it can."""
    Store.create(database.url)
    home = KeyTable(database.url, [Identity(tmp_path, "age").recipient])
    name = home.seal(pem(new_key()))
    old = home.sealed(name)
    operator = KeyTable(database.role("SELECT ON meta, keys", "INSERT ON keys"), [])
    for change in (lambda: operator.replace(name, old, b"new"), lambda: operator.destroy(name)):
        with pytest.raises(NodeFault) as caught:
            change()
        assert caught.value.reason is Reason.STORE_DENIED
    assert home.sealed(name) == old
    keeper = KeyTable(database.role("SELECT ON meta, keys", "UPDATE (sealed, at), DELETE ON keys"), [])
    keeper.replace(name, old, b"new")
    assert home.sealed(name) == b"new"
    keeper.destroy(name)
    keeper.destroy(name)
    assert home.names() == []
