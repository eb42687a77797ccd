"""Datasets: specs, sources, pixels. Nothing here imports torch."""
