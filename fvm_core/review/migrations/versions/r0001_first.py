"""Sessions and decisions. SQLite databases from before the migrations have exactly this and are stamped with it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from fvm_core.review.migrations.guards import make_append_only

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "sessions",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("reviewer", sa.String, nullable=False),
        sa.Column("dataset", sa.String, nullable=False),
        sa.Column("fingerprint", sa.String, nullable=False),
        sa.Column("created", sa.String, nullable=False),
        sa.UniqueConstraint("name", "fingerprint"),
    )
    op.create_table(
        "decisions",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("session", sa.String, sa.ForeignKey("sessions.id"), nullable=False),
        sa.Column("client", sa.String, nullable=False),
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("sample", sa.String, nullable=False),
        sa.Column("action", sa.String, nullable=False),
        sa.Column("label", sa.Integer),
        sa.Column("undoes", sa.Integer, sa.ForeignKey("decisions.number")),
        sa.Column("given", sa.Integer, nullable=False),
        sa.Column("suggested", sa.Integer),
        sa.Column("run", sa.String, nullable=False),
        sa.Column("method", sa.String, nullable=False),
        sa.Column("score", sa.Float),
        sa.Column("score_provenance", sa.String, nullable=False),
        sa.Column("reviewer", sa.String, nullable=False),
        sa.Column("decided_at", sa.String, nullable=False),
        sa.UniqueConstraint("session", "client", "seq"),
        sqlite_autoincrement=True,
    )
    op.create_index("decisions_of_sample", "decisions", ["session", "sample"])
    for table in ("sessions", "decisions"):
        make_append_only(table)
