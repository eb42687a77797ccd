"""The tables of a review as queries name them. They are made and changed by the revisions in `migrations/versions`."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    false,
)

METADATA = MetaData()

SESSIONS = Table(
    "sessions",
    METADATA,
    Column("id", String, primary_key=True),
    Column("name", String, nullable=False),
    Column("reviewer", String, nullable=False),
    Column("dataset", String, nullable=False),
    Column("fingerprint", String, nullable=False),
    Column("created", String, nullable=False),
    UniqueConstraint("name", "fingerprint"),
)

DECISIONS = Table(
    "decisions",
    METADATA,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("session", String, ForeignKey("sessions.id"), nullable=False),
    Column("client", String, nullable=False),
    Column("seq", BigInteger().with_variant(Integer(), "sqlite"), nullable=False),
    Column("sample", String, nullable=False),
    Column("action", String, nullable=False),
    Column("label", Integer),
    Column("undoes", Integer, ForeignKey("decisions.number")),
    Column("given", Integer, nullable=False),
    Column("suggested", Integer),
    Column("run", String, nullable=False),
    Column("method", String, nullable=False),
    Column("score", Float),
    Column("score_provenance", String, nullable=False),
    Column("reviewer", String, nullable=False),
    Column("decided_at", String, nullable=False),
    Column("role", String, nullable=False, server_default="review"),
    UniqueConstraint("session", "client", "seq"),
    Index("decisions_of_sample", "session", "sample"),
    Index("decisions_by_sample", "sample"),
    sqlite_autoincrement=True,
)

ASSIGNMENTS = Table(
    "assignments",
    METADATA,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("session", String, ForeignKey("sessions.id"), nullable=False),
    Column("batch", String, nullable=False),
    Column("sample", String, nullable=False),
    Column("reviewer", String, nullable=False),
    Column("blind", Boolean, nullable=False),
    Column("withdrawn", Boolean, nullable=False, server_default=false()),
    Column("assigned_by", String, nullable=False),
    Column("assigned_at", String, nullable=False),
    UniqueConstraint("session", "batch", "sample", "reviewer"),
    sqlite_autoincrement=True,
)

REVIEWER_KEYS = Table(
    "reviewer_keys",
    METADATA,
    Column("reviewer", String, primary_key=True),
    Column("bindings", String, nullable=False),
    Column("changed_at", String, nullable=False),
)
