"""Several reviewers: who sees which image, and decisions that settle a disagreement."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from fvm_core.review.migrations.guards import make_append_only

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("decisions", sa.Column("role", sa.String, nullable=False, server_default="review"))
    op.create_index("decisions_by_sample", "decisions", ["sample"])
    op.create_table(
        "assignments",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("session", sa.String, sa.ForeignKey("sessions.id"), nullable=False),
        sa.Column("batch", sa.String, nullable=False),
        sa.Column("sample", sa.String, nullable=False),
        sa.Column("reviewer", sa.String, nullable=False),
        sa.Column("blind", sa.Boolean, nullable=False),
        sa.Column("withdrawn", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("assigned_by", sa.String, nullable=False),
        sa.Column("assigned_at", sa.String, nullable=False),
        sa.UniqueConstraint("session", "batch", "sample", "reviewer"),
        sqlite_autoincrement=True,
    )
    make_append_only("assignments")
