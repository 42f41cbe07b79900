"""Which version of the tables a store has, and whether that is ours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from renewctl.errors import Refused, Unusable
from renewctl.reasons import Reason

SCHEMA = 1
"""Version of `sql_tables` (the newest revision of `migrations`); a store of another one is refused."""

VERSION_ROW = "SELECT value AS schema_version FROM meta WHERE name = 'schema'"
"""The one record of a store's version."""

Row = dict[str, Any]

_DIGITS = 10  # more than the years of this product


def known(rows: Sequence[Row], store: str) -> None:
    """Check the `schema_version` that came with the first row.

    Raises:
        Unusable: `store_not_a_store` where there is none.
        Refused: `store_newer`, `store_older`.
    """
    version = not_newer(rows, store)
    if version < SCHEMA:
        raise Refused(Reason.STORE_OLDER, store=store, got=version, expected=SCHEMA)


def not_newer(rows: Sequence[Row], store: str) -> int:
    """The `schema_version` that came with the first row: ours, or one we can upgrade.

    Raises:
        Unusable: `store_not_a_store` where there is none.
        Refused: `store_newer`.
    """
    if not rows:
        raise Unusable(Reason.STORE_NOT_A_STORE, store=store)
    version = _number(rows[0]["schema_version"])
    if version is None:
        raise Unusable(Reason.STORE_NOT_A_STORE, store=store)
    if version > SCHEMA:
        raise Refused(Reason.STORE_NEWER, store=store, got=version, expected=SCHEMA)
    return version


def _number(value: object) -> int | None:
    """A version as the table `meta` keeps it: digits; a backup tells it as a number."""
    text = str(value) if isinstance(value, str | int) else ""
    return int(text) if text.isascii() and text.isdigit() and len(text) < _DIGITS else None
