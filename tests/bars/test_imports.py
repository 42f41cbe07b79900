"""Each library has one owner: foreign types and exceptions stop there (DESIGN.md §2)."""

from __future__ import annotations

from functools import cache

import grimp
import pytest

OWNERS = {
    "click": ("renewctl.cli",),
    "rich": ("renewctl.cli",),
    "prometheus_client": ("exporter",),
    "requests": ("renewctl.servers.transport",),
    "urllib3": ("renewctl.servers.transport",),
    "httpx": ("renewctl.apns", "renewctl.sandbox", "renewctl.cli.sandbox"),
    "h2": ("renewctl.sandbox",),
    "sqlalchemy": (
        "renewctl.database.sql",
        "renewctl.database.sql_faults",
        "renewctl.database.sql_arguments",
        "renewctl.database.sql_tables",
        "renewctl.database.sql_url",
        "renewctl.store.migrations",
    ),
    "alembic": ("renewctl.store.migrations",),
    "psycopg": ("renewctl.database.sql", "renewctl.database.sql_faults"),
    "pymysql": ("renewctl.database.sql", "renewctl.database.sql_faults"),
    "pyrage": ("renewctl.keys.keystore", "renewctl.keys.unseal", "renewctl.sandbox"),
    "yaml": ("renewctl.inventory.yaml_lines", "renewctl.inventory.reading"),
    "starlette": ("renewctl.web", "exporter", "renewctl.sandbox"),
    "uvicorn": ("renewctl.web", "renewctl.sandbox"),
    "bcrypt": ("renewctl.web.users",),
    "ansible": ("ansible_collections",),
}


@cache
def _graph() -> grimp.ImportGraph:
    return grimp.build_graph(
        "renewctl", "exporter", "ansible_collections", include_external_packages=True, cache_dir=None
    )


@pytest.mark.parametrize("library", OWNERS)
def test_a_library_is_imported_by_its_owner_alone(library: str) -> None:
    """Nobody but the owner imports the library, and the owner really does or the row is stale."""
    graph = _graph()
    users = graph.find_modules_that_directly_import(library) if library in graph.modules else set()
    owners = OWNERS[library]
    strangers = {
        user for user in users if not any(user == owner or user.startswith(f"{owner}.") for owner in owners)
    }
    assert not strangers


def test_the_owners_table_is_not_stale() -> None:
    """Every library in the table is imported somewhere: a table of nothing would prove nothing."""
    modules = _graph().modules
    assert {library for library in OWNERS if library not in modules} <= {"pymysql", "psycopg", "urllib3"}
