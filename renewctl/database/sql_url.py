"""URLs of databases: what they name, and what people may see of them.

A file's URL is taken apart here, so that reading a store in a file loads no SQLAlchemy (a third of a second);
a server's by SQLAlchemy, which will connect to it.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from renewctl.errors import Unusable
from renewctl.reasons import Reason

if TYPE_CHECKING:
    from sqlalchemy import URL

_EXPECTED = "sqlite:///PATH, postgresql://USER:PASSWORD@HOST/DATABASE (percent-encoded)"
_FILE = re.compile(r"sqlite:///(?!:)([^?]+)")  # no ":memory:", no options
_STORES = frozenset({"postgresql", "postgres"})
_SERVERS = _STORES | {"mysql", "mariadb"}


def resolve(url_text: str, base: Path) -> str:
    """A store's URL with its SQLite path made absolute.

    Args:
        url_text: as in the inventory; `sqlite:///store.db` is relative, `sqlite:////srv/store.db` absolute.
        base: the inventory's file or folder.

    Raises:
        Unusable: `store_url_invalid`.
    """
    path = file_of(url_text)
    if path is None:
        _parsed(url_text, _STORES)
        return url_text
    folder = base if base.is_dir() else base.parent
    return file_url(folder.absolute() / path)


def shown(url_text: str) -> str:
    """A URL as people may see it: no password, no query; of SQLite the path alone.

    Raises:
        Unusable: `store_url_invalid`.
    """
    path = file_of(url_text)
    return str(path or server(url_text).set(query={}).render_as_string(hide_password=True))


def is_postgresql(url_text: str) -> bool:
    """Whether a store's URL names a PostgreSQL database.

    Raises:
        Unusable: `store_url_invalid`.
    """
    return file_of(url_text) is None and server(url_text).drivername.startswith("postgres")


def file_of(url_text: str) -> Path | None:
    """The file a SQLite URL names; None for any other text, a URL or not."""
    found = _FILE.fullmatch(url_text)
    return None if found is None else Path(unquote(found[1]))


def file_url(path: Path) -> str:
    """The SQLite URL of a file."""
    return f"sqlite:///{quote(str(path))}"


def server(url_text: str) -> URL:
    """The URL of a database server.

    Raises:
        Unusable: `store_url_invalid`.
    """
    return _parsed(url_text, _SERVERS)


def _parsed(url_text: str, products: frozenset[str]) -> URL:
    """Parse, saying no more of a bad URL than its scheme: it may hold a password."""
    from sqlalchemy import exc, make_url  # noqa: PLC0415 - a third of a second

    scheme = re.match(r"([a-z][a-z0-9]*):", url_text)
    got = f"{scheme[1]}://…" if scheme else "…"
    try:
        url = make_url(url_text)
    except (exc.ArgumentError, ValueError):
        raise Unusable(Reason.STORE_URL_INVALID, got=got, expected=_EXPECTED) from None
    # An "@" left in the host is the rest of a password that was not percent-encoded.
    if url.drivername not in products or "@" in (url.host or "") or not url.database:
        raise Unusable(Reason.STORE_URL_INVALID, got=got, expected=_EXPECTED)
    return url
