"""The keys of each person, so that they follow the name to every machine of a team."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """A setting, not a record of what was decided: the row of a person is replaced, so the table is not append-only."""
    op.create_table(
        "reviewer_keys",
        sa.Column("reviewer", sa.String, primary_key=True),
        sa.Column("bindings", sa.String, nullable=False),
        sa.Column("changed_at", sa.String, nullable=False),
    )
