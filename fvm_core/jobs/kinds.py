"""Which function does the work of which kind of job."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from fvm_core.errors import JobError
from fvm_core.jobs.context import JobContext
from fvm_core.workspace import Workspace

Work = Callable[[JobContext, dict[str, Any], Workspace], dict[str, Any]]

KINDS: dict[str, str] = {
    "train": "fvm_core.tuning.train:run",
    "tune": "fvm_core.tuning.tune:run",
    "score": "fvm_core.influence.score:run",
    "snapshots": "fvm_core.influence.snapshots:run",
    "explain": "fvm_core.influence.explain:run",
    "landscape": "fvm_core.learn.landscape_job:run",
    "flag": "fvm_core.learn.flag_job:run",
    "map": "fvm_core.embedding.job:run",
    "across": "fvm_core.embedding.across:run",
    "self_test": "fvm_core.influence.planted_job:run",
    "import_model": "fvm_core.models.importing:run",
    "overlap": "fvm_core.data.overlap_job:run",
    "check_images": "fvm_core.data.check_job:run",
    "download": "fvm_core.data.download_job:run",
    "export": "fvm_core.review.exports.job:run",
    "report": "fvm_core.report.job:run",
    "retrain": "fvm_core.tuning.retrain:run",
    "join": "fvm_core.data.verified:run",
    "demo": "fvm_core.demo:run",
    "pipeline": "fvm_core.pipeline:run",
    "reproduce": "fvm_core.experiments.run:run",
    "gen_pretrain": "fvm_core.generation.kinds:pretrain",
    "gen_tune": "fvm_core.generation.tune_job:run",
    "gen_score": "fvm_core.generation.score_job:run",
    "gen_ask": "fvm_core.generation.ask_job:run",
    "selftest": "fvm_core.jobs.selftest:run",
}

LIGHT = frozenset(
    {"import_model", "overlap", "check_images", "download", "explain", "export", "report", "join", "flag"}
)
"""Kinds that read or fetch more than they compute, or that somebody waits for: they do not wait for a slot."""


def check_kind(kind: str) -> None:
    """Raise JobError unless `kind` is known.

    >>> check_kind("tune")
    """
    if kind not in KINDS:
        raise JobError(f"`kind` must be one of {', '.join(sorted(KINDS))}, got {kind!r}.")


def load_kind(kind: str) -> Work:
    """Import and return the function of a kind (this is where a worker imports torch).

    Raises:
        JobError: unknown kind.
    """
    check_kind(kind)
    module, _, function = KINDS[kind].partition(":")
    return getattr(importlib.import_module(module), function)
