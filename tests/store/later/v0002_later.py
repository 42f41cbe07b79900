"""A schema there is not yet, for tests: a column, a table rebuilt, rows rewritten.

`RENEWCTL_TEST_LATER` makes it fail, or makes the process die, halfway.
"""

from __future__ import annotations

import os
import signal

import sqlalchemy as sa
from alembic import op

revision = "2"
down_revision = "1"


def upgrade() -> None:
    """Everything a revision may want to do."""
    op.add_column("runs", sa.Column("note", sa.Text))
    op.execute("UPDATE runs SET note = 'of schema 1'")
    trouble = os.environ.get("RENEWCTL_TEST_LATER")
    if trouble == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if trouble == "fail":
        op.execute("UPDATE nowhere SET nothing = 1")
    if trouble == "taken":
        op.execute("INSERT INTO meta (name, value) VALUES ('schema', '9')")
    with op.batch_alter_table("documents") as batch:
        batch.alter_column("at", new_column_name="kept_at")
