"""How the store's tables came to be and change: one revision a schema version. Sole owner of Alembic.

A revision's name is the schema version it leads to: "1", "2", …. Which one a store is at stands in its table
`meta`, read by everybody; Alembic's own `alembic_version` would be a second word on it, so there is none.
Alembic takes long to load: only what upgrades or restores a store imports this.
"""

from __future__ import annotations

from pathlib import Path

from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from renewctl.database import sql

FOLDER = Path(__file__).parent
VERSIONS: tuple[Path, ...] = (FOLDER / "versions",)
"""Where revisions lie."""


def newest() -> int:
    """The newest schema version there is a revision for."""
    return int(_scripts().get_current_head() or 0)


def apply(transaction: sql.Transaction, *, above: int, upto: int) -> None:
    """Run revisions inside the caller's transaction and note the version they lead to.

    Args:
        transaction: of the store; all of it comes to be, or nothing.
        above: the version the store is at; 0: there are no tables.
        upto: the version it is to be at.

    Raises:
        Anything a revision raises.
    """
    revisions = [*_scripts().iterate_revisions(str(upto), str(above) if above else "base")]
    with Operations.context(MigrationContext.configure(transaction.connection)):
        for revision in reversed(revisions):
            revision.module.upgrade()
    statement = (
        "UPDATE meta SET value = :version WHERE name = 'schema'"
        if above
        else "INSERT INTO meta (name, value) VALUES ('schema', :version)"
    )
    transaction.change(statement, version=str(upto))


def _scripts() -> ScriptDirectory:
    return ScriptDirectory(FOLDER, version_locations=list(VERSIONS))
