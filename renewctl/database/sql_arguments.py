"""How to connect to a database server: our deadlines, read-only where promised, TLS verified elsewhere.

On another host than this one a server must prove who it is, unless the URL says otherwise itself
(`sslmode=…` for PostgreSQL, any `ssl…` for MySQL): libpq's own default takes any server, and none over TLS.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_CONNECT_SECONDS = 5
_IDLE_SECONDS = 4.0
"""A transaction whose client fell silent (cut off, stopped) is rolled back by the server after so long:
sooner than the statement deadline, so that our own next try, waiting behind it, still succeeds."""

_LOCAL_HOSTS = frozenset({"", "localhost", "127.0.0.1", "::1"})
_CA_FILES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt")


def postgresql(
    host: str, query: Mapping[str, Any], *, read_only: bool, timeout_seconds: float
) -> dict[str, Any]:
    """Arguments of `psycopg.connect` beside the URL's own.

    Args:
        host: of the URL; "" where its query names a socket's folder.
        query: of the URL.
        read_only: the server itself refuses every change.
        timeout_seconds: the server gives up a statement after so long.
    """
    settings = {
        "statement_timeout": str(int(timeout_seconds * 1000)),
        "idle_in_transaction_session_timeout": str(int(_IDLE_SECONDS * 1000)),
        "synchronous_commit": "on",
        # What was committed while we waited for a lock must be seen after it, whatever the server's default.
        "default_transaction_isolation": r"read\ committed",
    }
    if read_only:
        settings["default_transaction_read_only"] = "on"
    ours = " ".join(f"-c {name}={value}" for name, value in settings.items())
    arguments: dict[str, Any] = {
        "connect_timeout": _CONNECT_SECONDS,
        # A link that died silently is noticed soon after the server's own deadline has passed.
        "tcp_user_timeout": int((timeout_seconds + _CONNECT_SECONDS) * 1000),
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 3,
        "application_name": "renewctl",
        "options": f"{query.get('options', '')} {ours}".strip(),
    }
    if not _is_local(host or str(query.get("host", ""))) and "sslmode" not in query:
        arguments["sslmode"] = "verify-full"
        arguments |= {} if "sslrootcert" in query else _trust()
    return arguments


def mysql(host: str, query: Mapping[str, Any], *, read_only: bool, timeout_seconds: float) -> dict[str, Any]:
    """Arguments of `pymysql.connect` beside the URL's own; always read-only: no store lives there.

    The comments are read by MySQL from 5.7.20 and by MariaDB from 10.1 alone
    (mariadb.com/kb/en/comment-syntax).
    """
    del read_only
    milliseconds = int(timeout_seconds * 1000)
    arguments: dict[str, Any] = {
        "connect_timeout": _CONNECT_SECONDS,
        "read_timeout": timeout_seconds,
        "write_timeout": timeout_seconds,
        "init_command": "SET SESSION"
        f" /*!50720 transaction_read_only=1, SESSION max_execution_time={milliseconds} */"
        f" /*M!100100 tx_read_only=1, SESSION max_statement_time={timeout_seconds} */",
    }
    if not _is_local(host) and not any(name.startswith("ssl") for name in query):
        arguments["ssl"] = ssl.create_default_context()
    return arguments


def _is_local(host: str) -> bool:
    return host in _LOCAL_HOSTS or host.startswith("/")


def _trust() -> dict[str, str]:
    """The system's trusted issuers; psycopg's own libpq does not know where a distribution keeps them."""
    named = (ssl.get_default_verify_paths().cafile, *_CA_FILES)
    return next(({"sslrootcert": path} for path in named if path and Path(path).exists()), {})
