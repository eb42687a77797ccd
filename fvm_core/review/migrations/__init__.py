"""Alembic's revisions of the review database, run by `fvm_core.review.migrate` whenever a database is opened."""
