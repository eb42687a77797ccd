"""Decisions of people: queue, append-only log, export. Nothing here imports torch."""
